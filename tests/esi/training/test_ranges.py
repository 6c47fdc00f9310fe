"""Training over ranges: one set of weights for any cap, and files that say what is simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learnmm_esi.head.scalp import scalp_gain
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.networks.registry import method
from learnmm_esi.simulation.data_sets import DATA, load_protocol, simulator
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.nmm import NMMSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.simulation.ranges.simulator import Ranges
from learnmm_esi.training.data import GroupedRecordings
from learnmm_esi.training.presets import load_preset
from learnmm_esi.training.train import simulate, train

RANGES = """
simulator = "ranges"
[settings]
together = 4
[settings.caps]
electrodes = [16, 24]
[settings.heads]
sources = 64
ico = 2
others = {count = 1, ico = 2}
[settings.patches]
counts = [1.0, 1.0]
hops = [0, 1]
[settings.courses]
times = [1, 40]
shapes = ["deflection", "oscillation"]
[also.few]
share = 0.3
together = 4
caps = {electrodes = [16, 16]}
heads = {sources = 64, ico = 2, template = 1.0, others = {count = 0}}
patches = {counts = [1.0], hops = [1, 1]}
courses = {times = [8, 8], shapes = ["deflection"]}
"""
PRESET = """
head = {sources = 64, ico = 2}
method = {hidden = 4, steps = 3, prior = {width = 8}}
recordings = {window = 8}
start = {steps = 3, batch_size = 8, adam = {warmup = 1}}
fit = {steps = 2, batch_size = 3, adam = {warmup = 1}}
training = {train_size = 48, validation_size = 8, horizons = [2, 3]}
"""


@pytest.fixture
def files(tmp_path: Path, head_models: Path, monkeypatch) -> tuple[Path, Path]:
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    ranges, preset = tmp_path / "mine.toml", tmp_path / "tiny.toml"
    ranges.write_text(RANGES)
    preset.write_text(PRESET)
    return ranges, preset


@pytest.mark.parametrize("start", ["learned", "evidence"])
def test_weights_trained_over_ranges_serve_any_cap(files, head, tmp_path, start) -> None:
    ranges, path = files
    path.write_text(path.read_text().replace("hidden = 4", f'hidden = 4, start = "{start}"'))
    preset = load_preset(path, "mm-net")
    assert preset.method.start == start
    scalp = scalp_gain(HeadModelSettings(sources=64, ico=2))
    places = np.asarray(scalp.skin.vertices)
    model = scalp.head_model(places[::7][:20], [f"A{i}" for i in range(20)])
    trained = train(model, str(ranges), preset, tmp_path / "run", progress=False)
    solver = trained.solver
    assert solver.configuration()["recordings"] == {"times": 8, "sfreq": None}
    file = tmp_path / "w.safetensors"
    save_solver(file, solver, {"data": "mine", **preset.as_dict()}, {}, half=False)
    for count, times in ((20, 5), (33, 1), (16, 60)):
        other = scalp.head_model(places[:count], [f"B{i}" for i in range(count)])
        sensors = np.random.default_rng(count).standard_normal((2, count, times))
        found = load_solver(file, other).reconstruct(sensors - sensors.mean(axis=1, keepdims=True))
        assert found.sources.shape == (2, 64, times)
        assert np.isfinite(found.sources).all()
    with pytest.raises(ValueError, match="for 64 sources, the head model has 80"):
        load_solver(file, head)


def test_a_batch_of_the_steps_is_one_group(files) -> None:
    ranges, path = files
    preset = load_preset(path, "mm-net")
    groups = load_protocol(ranges).groups(0, 48)
    data = GroupedRecordings(groups, members=3, window=8)
    for number in range(4):
        item = data[number]
        members, sensors, times = item["sensors"].shape
        assert 1 <= members <= 3
        assert times <= 8
        assert item["leadfield"].shape == (sensors, 64)
        assert item["sources"].shape == (members, 64, times)
        torch.testing.assert_close(item["sources"].abs().amax((1, 2)), torch.ones(members))
        again = data[number]
        assert torch.equal(again["sensors"], item["sensors"])
    data.set_epoch(1)
    assert not torch.equal(data[0]["sensors"], GroupedRecordings(groups, members=3)[0]["sensors"])
    with pytest.raises(ValueError, match="one group, got batch_size=2"):
        GroupedRecordings.collate([data[0], data[1]])
    model = groups.group(0).model
    path.write_text(path.read_text().replace("window = 8", "window = 0"))
    whole = simulate(model, str(ranges), load_preset(path, "mm-net"))
    assert whole.recordings == Recordings(40, None)  # the longest there are
    for number in range(4):
        assert whole.steps[number]["sensors"].shape[2] == groups.group(number).timing.times
    path.write_text(path.read_text().replace("window = 0", "window = 8"))
    with pytest.raises(ValueError, match="many lengths, and modgrad has weights for one"):
        simulate(model, str(ranges), replace(preset, method=method("modgrad")))
    text = path.read_text().replace("window = 8", "window = 8, sfreq = 100.0")
    path.write_text(text)
    asked = load_preset(path, "mm-net")
    with pytest.raises(ValueError, match="many lengths and rates: leave sfreq out"):
        simulate(model, str(ranges), asked)
    assert preset != asked


def test_the_paper_protocols_are_files_and_stay_as_they_are(head) -> None:
    """Bit by bit the simulators' own defaults."""
    assert DATA == ("erp", "nmm", "nmm-two", "ranges")
    mine, theirs = simulator(head, "erp", 4, 3), ERPSimulator(head, seed=4, size=3)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one.sensors, other.sensors)
        np.testing.assert_array_equal(one.sources, other.sources)
    nmm, plain = simulator(head, "nmm", 4, 3), NMMSimulator(head, seed=4, size=3)
    for name in ("snr_db", "source_snr_db", "patches", "times", "sfreq", "edge_weight"):
        assert getattr(nmm, name) == getattr(plain, name)
    assert isinstance(nmm, NMMSimulator)
    assert nmm.clips.choice == plain.clips.choice
    two = simulator(head, "erp", 4, 3, times=12, patches=PatchSettings(2))
    assert two.sample(0).sensors.shape == (20, 12)
    assert load_protocol("ranges").settings == Ranges()


def test_training_may_differ_from_testing_in_some_settings(head) -> None:
    two = load_protocol("nmm-two")
    assert two.simulator(head, 2, 4).spikes.patch_snr_db == 10.0
    training = two.for_training().simulator(head, 0, 4)
    assert training.spikes.patch_snr_db == (10.0, 18.0)
    for name in ("input_rate", "spike_snr_db"):
        assert getattr(training.spikes, name) == getattr(two.settings.spikes, name)
    assert (training.patches, training.snr_db) == (two.settings.patches, (8.0, 17.0))
    assert load_protocol("nmm").for_training() == load_protocol("nmm")
    made = simulate(head, "nmm-two", load_preset("smoke", "mm-net"))
    for groups in (made.training, made.validation, made.judging):
        assert groups.simulator.spikes.patch_snr_db == (10.0, 18.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('simulator = "meg"', "simulator must be one of erp, nmm, ranges, spikes, got 'meg'"),
        ("", "simulator must be one of erp, nmm, ranges, spikes, got None"),
        ('simulator = "erp"\n[caps]', "unknown section 'caps'"),
        ('simulator = "erp"\n[settings]\ncap = 3', "unknown setting 'cap'"),
        ('simulator = "ranges"\n[training]', "unknown section 'training'"),
        ('simulator = "erp"\n[training]\ncap = 3', r"unknown setting 'cap' in \[training\]"),
        ('simulator = "erp"\ntraining = 3', r"\[training\] must be a table of settings, got 3"),
        ('simulator = "ranges"\n[settings.caps]\nbad = 3', "bad must be a share, got 3"),
        ('simulator = "ranges"\n[also.x]\nbad = 3', r"\[also.x\] must have a share"),
        ('simulator = "ranges"\n[also.x]\nshare = 1.5', r"\[also.x\] must have a share"),
    ],
)
def test_faulty_files_name_what_is_wrong(tmp_path, text, message) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_protocol(path)


def test_ranges_and_one_head_are_told_apart(head) -> None:
    with pytest.raises(ValueError, match="ranges are over ranges of heads: on one head model"):
        load_protocol("ranges").simulator(head, 0, 1)
    with pytest.raises(ValueError, match="the recordings of erp are of one head"):
        load_protocol("erp").groups(0, 1)
    with pytest.raises(TypeError, match="erp has no choice to change"):
        simulator(head, "erp", 0, 1, choice="any")
