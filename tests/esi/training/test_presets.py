"""Presets load, are the paper's where they say so, and are refused where they are faulty."""

from __future__ import annotations

import json

import pytest

from learnmm_esi.networks.energy import PriorSettings
from learnmm_esi.networks.registry import method
from learnmm_esi.simulation.data_sets import simulator
from learnmm_esi.training.presets import PRESETS, load_preset
from scripts import EXAMPLES


@pytest.mark.parametrize("name", [*PRESETS, *sorted(EXAMPLES.glob("esi/presets/*.toml"))])
def test_presets_load(name) -> None:
    preset = load_preset(name, "mm-net")
    assert preset.fit.steps > 0
    assert json.dumps(preset.as_dict())


def test_the_papers_preset_is_the_papers() -> None:
    preset = load_preset("paper", "mm-net")
    assert preset.fit.steps == 500 * 8000 // 32
    adam = preset.fit.adam
    assert (adam.lr, adam.lr_factors["unrolled.energy"]) == (5e-5, 0.5)
    assert (adam.clip, adam.final_lr, preset.training.loss) == (0.5, 1.0, "paper")
    prior = PriorSettings(width=128, reach=3, weight=1.0, learn_weight=False)
    assert preset.method == method("mm-net", start="noise", prior=prior)
    assert preset.recordings.window == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nothing]\na = 1", "unknown section 'nothing'"),
        ("[fit]\nstep = 3", r"unknown setting 'step' in \[fit\]"),
        ("[fit]\nsteps = 30\n[training]\nloss = 'mse'", "loss must be one of deep, paper"),
        ("[fit]\nsteps = 30\n[training]\nhorizons = [3, 2]", "1 <= fewest <= most"),
        ("[fit]\nsteps = 30\n[method]\nhidden = 0", "hidden must be a positive integer"),
        ("[method]\nhiden = 4", r"unknown setting 'hiden' in \[method\]; there are hidden, "),
        ("[method]\nprior = 4", r"\[method.prior\] must be a table of settings, got 4"),
        ("[method.prior]\nwidth = 0", r"\[method.prior\]: width must be a positive integer"),
        ("[recordings]\nwindow = -1", "window must be an integer of 0 or more"),
        ("[recordings]\nsfreq = 0", "sfreq must be positive and finite"),
        ("[fit", "not valid TOML"),
    ],
)
def test_faulty_presets_are_refused(tmp_path, text, message) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_preset(path, "mm-net")


def test_unknown_names_are_told_with_what_there_is(head) -> None:
    with pytest.raises(FileNotFoundError, match="presets: cpu, paper, quick, ranges, smoke"):
        load_preset("fast", "mm-net")
    with pytest.raises(ValueError, match=r"method must be one of .*, mm-net, .*, got 'unet'"):
        load_preset("cpu", "unet")
    with pytest.raises(
        FileNotFoundError, match="is called 'meg'; there are erp, nmm, nmm-two, ranges"
    ):
        simulator(head, "meg", 0, 1)


def test_a_setting_of_another_method_is_refused(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[method]\nhidden = 4")
    assert load_preset(path, "modgrad").method == method("modgrad", hidden=4)
    with pytest.raises(ValueError, match=r"'hidden' in \[method\]; there are prior"):
        load_preset(path, "meta-curvature")
