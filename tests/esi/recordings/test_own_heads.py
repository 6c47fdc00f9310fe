"""Recordings on the template's head with the electrodes that they have, whichever these are."""

from __future__ import annotations

import warnings
from pathlib import Path

import joblib
import mne
import numpy as np
import pytest
from typer.testing import CliRunner

from eeg_learning import small
from eeg_recordings import FEW, SFREQ, assert_same
from learnmm_esi.cli.app import app
from learnmm_esi.head.electrodes import placed_info
from learnmm_esi.head.scalp import scalp_gain
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings import template_head
from learnmm_esi.recordings.apply import MMInverse, apply_mm
from learnmm_esi.recordings.estimates import expand_estimate
from learnmm_esi.recordings.placement import place_electrodes
from learnmm_esi.recordings.report import add_to_report
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings
from learnmm_esi.recordings.template_head import head_model_for
from learnmm_esi.simulation.erp import ERPSimulator

TIMES = 16


def channels(kind, montage=True):
    made = mne.channels.make_standard_montage(kind)
    info = mne.create_info(made.ch_names, SFREQ, "eeg")
    return info.set_montage(made) if montage else info


def response(info, settings, seed=1):
    """An evoked response that was simulated on the template with these electrodes."""
    model = head_model_for(info, settings)
    sensors = ERPSimulator(model, seed=seed, times=TIMES, sfreq=SFREQ)[0].sensors
    return mne.EvokedArray(sensors.astype(float), info, comment="left", verbose="ERROR")


@pytest.mark.parametrize("kind", ["biosemi64", "GSN-HydroCel-128", "easycap-M10"])
def test_a_model_of_any_cap_is_that_of_mne(own_head, kind):
    info = channels(kind)
    model = head_model_for(info, own_head)
    assert model.channel_names == tuple(info.ch_names)
    scalp = scalp_gain(own_head)
    np.testing.assert_array_equal(
        model.leadfield, scalp.leadfield(place_electrodes(info).points), strict=True
    )
    assert model.settings == own_head
    assert model.regions is not None
    there = model.info(SFREQ)
    assert there.ch_names == info.ch_names
    again = head_model_for(there, own_head)
    moved = np.linalg.norm(again.origin.electrodes - model.origin.electrodes, axis=1)
    assert 1e3 * moved.max() < 4


def test_a_model_of_a_cap_is_an_mne_forward(own_head):
    model = head_model_for(channels("biosemi64"), own_head)
    forward = model.forward()
    np.testing.assert_array_equal(forward["sol"]["data"], model.leadfield)
    places = np.array([channel["loc"][:3] for channel in forward["info"]["chs"]])
    expected = placed_info(model.channel_names, model.origin.electrodes, 1.0)
    there = np.array([channel["loc"][:3] for channel in expected["chs"]])
    np.testing.assert_allclose(places, there, atol=1e-7)
    vertices = [space["vertno"] for space in forward["src"]]
    moments = np.random.default_rng(0).standard_normal((64, 2))
    image = mne.apply_forward(
        forward, mne.SourceEstimate(moments, vertices, 0, 1), model.info(1.0), verbose="ERROR"
    )
    np.testing.assert_allclose(image.data, model.leadfield @ moments, rtol=1e-6)


def test_models_of_the_same_electrodes_are_made_once(own_head):
    info = channels("biosemi64")
    model = head_model_for(info, own_head)
    assert head_model_for(channels("biosemi64"), own_head) is model
    info["bads"] = ["Cz"]
    assert len(head_model_for(info, own_head).channel_names) == 63


@pytest.mark.parametrize("settings", [{"column": "vertex"}, {"skull": "fsaverage"}])
def test_heads_that_no_cap_has_are_refused(settings):
    with pytest.raises(ValueError, match="the columns of a cap are sums over regions"):
        head_model_for(channels("biosemi64"), HeadModelSettings(ico=2, **settings))


def test_a_response_needs_nothing_else(own_head):
    evoked = response(channels("GSN-HydroCel-128"), own_head)
    stc, fit = apply_mm(evoked, own_head, FEW, return_result=True)
    assert stc.subject == "fsaverage"
    assert stc.data.shape == (64, TIMES)
    assert fit.monotone
    expected = apply_mm(evoked, head_model_for(evoked.info, own_head), FEW)
    np.testing.assert_array_equal(stc.data, expected.data)
    assert [list(v) for v in stc.vertices] == [list(v) for v in expected.vertices]
    # By names alone, and in another order, sources are the same.
    nameless = mne.EvokedArray(evoked.data, channels("GSN-HydroCel-128", montage=False))
    order = np.random.default_rng(0).permutation(128)
    shuffled = nameless.copy().reorder_channels([nameless.ch_names[k] for k in order])
    for other in (nameless, shuffled):
        assert_same(apply_mm(other, own_head, FEW).data, stc.data)


@pytest.fixture
def any_cap(own_head, tmp_path, monkeypatch):
    """The template has few regions, and weights for them are shipped: untrained, but complete."""
    few = (own_head.sources, *HeadModelSettings.__init__.__defaults__[1:])  # the first of them
    monkeypatch.setattr(HeadModelSettings.__init__, "__defaults__", few)
    monkeypatch.setattr("learnmm_esi.recordings.learned.SHIPPED", tmp_path)
    model = head_model_for(channels("biosemi64"), own_head)
    solver = SourceSolver(model, small("mm-net", steps=2), Recordings(TIMES, None))
    path = tmp_path / "mm-net.safetensors"
    save_solver(path, solver, {"data": "erp", "training": {}}, {})
    return path


def test_the_default_is_the_template_solved_with_shipped_weights(own_head, any_cap):
    inverse = MMInverse()
    assert inverse.model is None
    assert inverse.subject == "fsaverage"
    assert inverse.settings == InverseSettings(weights="mm-net", guided=True)
    assert repr(inverse) == f"MMInverse(OwnHeads({own_head}), weights='mm-net.safetensors', guided)"
    any_cap.unlink()
    assert MMInverse().settings == InverseSettings()
    assert "sources=64, ico=4" in repr(MMInverse())


@pytest.mark.filterwarnings("ignore:the estimate explains:RuntimeWarning")  # nothing was learned
def test_shipped_weights_serve_any_cap(own_head, any_cap):
    for kind in ("biosemi64", "GSN-HydroCel-32"):
        evoked = response(channels(kind), own_head)
        evoked.info["bads"] = evoked.ch_names[3:5]
        stc = apply_mm(evoked, HeadModelSettings(ico=2), verbose="ERROR")
        model = head_model_for(evoked.info, own_head)
        expected = apply_mm(evoked, model, InverseSettings(weights=any_cap, guided=True))
        np.testing.assert_array_equal(stc.data, expected.data)
    plain = apply_mm(evoked, own_head, InverseSettings()).data
    assert not np.allclose(stc.data, plain, atol=1e-2 * np.abs(plain).max())


def test_one_inverse_serves_recordings_of_several_caps(own_head):
    inverse = MMInverse(own_head, FEW)
    kinds = ("biosemi64", "GSN-HydroCel-128", "biosemi64")
    several = [response(channels(kind), own_head, seed) for seed, kind in enumerate(kinds)]
    alone = [inverse.apply(one) for one in several]
    with joblib.parallel_config("threading"):  # each with an inverse of its own, as processes have
        for n_jobs in (None, 2):
            for one, other in zip(inverse.apply(several, n_jobs=n_jobs), alone, strict=True):
                assert_same(one.data, other.data)
    several[1].rename_channels({"E7": "Cz", "E9": "nowhere"})
    several[1].set_montage(None)
    with pytest.raises(ValueError, match=r"^recording 1 \('left'\): .*no known place: nowhere"):
        inverse.apply(several)
    assert inverse.model_for(several[0].info).channel_names == tuple(several[0].ch_names)


def test_epochs_and_raw_are_solved_too(own_head):
    info = channels("biosemi64")
    evoked = response(info, own_head)
    expected = apply_mm(evoked, own_head, FEW).data
    epochs = mne.EpochsArray(evoked.data[None], info, verbose="ERROR")
    assert_same(apply_mm(epochs, own_head, FEW)[0].data, expected)
    raw = mne.io.RawArray(evoked.data, info, verbose="ERROR")
    assert_same(apply_mm(raw, own_head, FEW).data, expected)


def test_channels_without_a_place_are_told_once(own_head):
    evoked = response(channels("biosemi64"), own_head)
    evoked.rename_channels({"Cz": "nowhere"}).set_montage(None)
    with pytest.raises(ValueError, match="names of no known place: nowhere"):
        apply_mm(evoked, own_head, FEW)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        apply_mm([evoked], own_head, FEW, sensors=SensorSettings(on_missing="warn"))
    assert [str(one.message) for one in told if "nowhere" in str(one.message)] == [
        "1 of 64 good EEG channels have names of no known place: nowhere: left out"
    ]


def test_noise_is_whitened_by_the_names_of_the_recording(own_head):
    evoked = response(channels("biosemi64"), own_head)
    noise = mne.make_ad_hoc_cov(evoked.info)
    white = apply_mm(evoked, own_head, FEW, sensors=SensorSettings(noise))
    assert_same(white.data, apply_mm(evoked, own_head, FEW).data, share=0.05)


def test_what_the_scalp_sees_is_read_from_the_cache(own_head, head_models):
    """A process that starts finds it there."""
    expected = head_model_for(channels("biosemi64"), own_head).leadfield
    kept = {path: path.stat().st_mtime_ns for path in head_models.glob("scalp-*")}
    template_head._scalps.clear()
    found = head_model_for(channels("biosemi64"), own_head).leadfield
    np.testing.assert_array_equal(found, expected)
    assert {path: path.stat().st_mtime_ns for path in head_models.glob("scalp-*")} == kept


def test_the_command_needs_no_head_model(own_head, any_cap, tmp_path: Path):
    evoked = response(channels("biosemi64"), own_head)
    evoked.save(tmp_path / "any-ave.fif", verbose="ERROR")
    arguments = ["reconstruct", tmp_path / "any-ave.fif", "--ico", 2]
    for further, settings in (
        ((), InverseSettings(weights=any_cap, guided=True)),
        (("--guided",), InverseSettings(weights=any_cap, guided=True)),
        (("--weights", any_cap, "--guided"), InverseSettings(weights=any_cap, guided=True)),
        (("--weights", any_cap), InverseSettings(weights=any_cap)),
        (("--weights", "none", "--max-iter", 5, "--no-picture", "--expand"), FEW),
    ):
        result = CliRunner().invoke(app, [str(argument) for argument in (*arguments, *further)])
        assert result.exit_code == 0, result.output
        found = mne.read_source_estimate(tmp_path / "any-left-mm")
        expected = apply_mm(evoked, own_head, settings)
        if "--expand" in further:
            expected = expand_estimate(expected, head_model_for(evoked.info, own_head))
            assert found.shape == (20484, TIMES)
        assert_same(found.data, expected.data)
    assert (tmp_path / "any-left-mm.png").is_file()
    evoked.rename_channels({"Cz": "nowhere"}).set_montage(None)
    evoked.save(tmp_path / "any-ave.fif", overwrite=True, verbose="ERROR")
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    assert "names of no known place: nowhere" in " ".join(result.output.split())


def test_a_report_tells_the_head_that_was_made(own_head):
    evoked = response(channels("biosemi64"), own_head)
    inverse, report = MMInverse(own_head, FEW), mne.Report(verbose="ERROR")
    stc, fit = inverse.apply(evoked, return_result=True)
    add_to_report(report, evoked, stc, fit, inverse)
    assert "64 sensors, 64 sources of fsaverage" in "".join(report.html)
