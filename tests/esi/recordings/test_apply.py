"""MNE-Python objects in, source estimates out: the same whatever the way, and nothing modified."""

from __future__ import annotations

import dataclasses
import types
import warnings

import mne
import numpy as np
import pytest

from eeg_recordings import FEW, SFREQ, STEPS, TIMES, assert_same
from learnmm import Kind, Status
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.inverse.energy import SourceEnergy
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.recordings.apply import MMInverse, apply_mm
from learnmm_esi.recordings.raw_parts import RawSpan
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings

# ------------------------------------------------------------------------------ the estimate itself


def test_an_evoked_gives_an_estimate_on_the_sources_at_its_times(model, inverse, evoked):
    stc = inverse.apply(evoked)
    assert isinstance(stc, mne.SourceEstimate)
    assert stc.subject == "fsaverage"
    assert stc.tmin == evoked.times[0]
    assert stc.tstep == 1 / SFREQ
    assert stc.shape == (60, TIMES)
    for got, expected in zip(stc.vertices, model.vertices, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_an_evoked_and_the_array_path_agree(model, inverse, evoked, sensors):
    expected = EvidenceEnergy(model).reconstruct(sensors[:1], max_iter=STEPS).sources[0]
    assert_same(inverse.apply(evoked).data, expected)
    assert_same(apply_mm(evoked, model, FEW).data, expected)


def test_a_fixed_weight_is_that_of_the_smoothness(model, evoked, sensors):
    settings = InverseSettings(weight=2.0, diffusion=5.0, max_iter=STEPS)
    stc, fit = apply_mm(evoked, model, settings, return_result=True)
    expected = SourceEnergy(model, 2.0, 5.0).reconstruct(sensors[:1], max_iter=STEPS)
    assert_same(stc.data, expected.sources[0])
    assert fit.noise is None


def test_the_order_of_channels_changes_nothing(inverse, evoked):
    order = np.random.default_rng(0).permutation(evoked.ch_names).tolist()
    shuffled = evoked.copy().reorder_channels(order)
    np.testing.assert_array_equal(inverse.apply(shuffled).data, inverse.apply(evoked).data)


def test_amplitudes_follow_the_recording_and_the_rate_does_not_matter(inverse, evoked):
    estimate = inverse.apply(evoked)
    double = evoked.copy()
    double.data *= 2
    assert_same(inverse.apply(double).data, 2 * estimate.data)
    faster = mne.EvokedArray(evoked.data, evoked.info.copy(), tmin=0.0)
    with faster.info._unlock():
        faster.info["sfreq"] = 1000.0
    again = inverse.apply(faster)
    np.testing.assert_array_equal(again.data, estimate.data)
    assert again.tstep == 1e-3


def test_epochs_equal_their_single_evokeds(inverse, epochs, sensors):
    estimates = inverse.apply(epochs)
    assert isinstance(estimates, list)
    assert len(estimates) == 6
    for estimate, one in zip(estimates, sensors, strict=True):
        single = mne.EvokedArray(one, epochs.info, tmin=0.125)
        assert_same(estimate.data, inverse.apply(single).data)
        assert estimate.tmin == 0.125


def test_batches_of_epochs_do_not_matter(inverse, epochs, monkeypatch):
    together = inverse.apply(epochs)
    monkeypatch.setattr("learnmm_esi.recordings.batches.BATCH_VALUES", 2 * 60 * TIMES)
    for one, other in zip(inverse.apply(epochs), together, strict=True):
        assert_same(one.data, other.data)


def test_a_generator_computes_when_asked(inverse, epochs, monkeypatch):
    monkeypatch.setattr("learnmm_esi.recordings.batches.BATCH_VALUES", 1)
    epochs._data[3, 7, 2] = np.nan
    estimates = inverse.apply(epochs, return_generator=True)
    assert isinstance(estimates, types.GeneratorType)
    assert [next(estimates).shape for _ in range(3)] == [(60, TIMES)] * 3
    with pytest.raises(ValueError, match=r"epoch 3 has values that are not finite in AF1: mark"):
        next(estimates)


def test_raw_is_reconstructed_in_parts(model, inverse, sensors, raw):
    stc, fits = inverse.apply(
        raw, span=RawSpan(start=TIMES, stop=4 * TIMES, buffer_size=TIMES), return_result=True
    )
    assert stc.shape == (60, 3 * TIMES)
    assert stc.tmin == TIMES / SFREQ
    assert len(fits) == 3
    for k, one in enumerate(sensors[1:4]):
        single = inverse.apply(mne.EvokedArray(one, model.info(SFREQ)))
        assert_same(stc.data[:, TIMES * k : TIMES * (k + 1)], single.data)
    # Parts are nearly equal: no scrap of two samples at the end.
    _, fits = inverse.apply(raw, span=RawSpan(stop=50, buffer_size=24), return_result=True)
    assert len(fits) == 3
    whole = inverse.apply(raw)  # one second holds all samples
    assert whole.shape == (60, 6 * TIMES)


# ---------------------------------------------------------------------------------- what it reports


def test_the_fit_tells_energy_and_certificate(inverse, evoked, epochs):
    stc, fit = inverse.apply(evoked, return_result=True)
    assert isinstance(stc, mne.SourceEstimate)
    assert len(fit.energies) == STEPS + 1
    assert (np.diff(fit.energies) <= 0).all()
    assert fit.monotone
    assert fit.violations == 0
    assert fit.kind is Kind.GLOBAL
    assert fit.status is Status.MAX_ITER
    assert "GLOBAL bound, monotone, 0 candidates above it" in str(fit)
    assert 0.05 < fit.noise < 0.5  # the simulated recordings have 0.24
    assert f"{100 * fit.noise:.1f} % taken for noise" in str(fit)
    image = inverse.model.leadfield @ stc.data.astype(float)
    residual = np.linalg.norm(evoked.data - image) ** 2 / np.linalg.norm(evoked.data) ** 2
    assert fit.explained == pytest.approx(1 - residual, abs=1e-4)
    pairs = inverse.apply(epochs, return_result=True)
    assert_same(pairs[0][0].data, stc.data)
    np.testing.assert_allclose(pairs[0][1].energies, fit.energies, rtol=1e-4)


def test_what_is_prepared_is_used_again_until_the_channels_change(model, evoked):
    inverse = MMInverse(model, InverseSettings(max_iter=1))
    inverse.apply(evoked)
    first = inverse._engine._prepared[1]
    inverse.apply(evoked)
    assert inverse._engine._prepared[1] is first
    evoked.info["bads"] = ["Cz"]
    inverse.apply(evoked)
    assert inverse._engine._prepared[1] is not first


def test_verbose_is_that_of_mne(inverse, evoked):
    with mne.utils.catch_logging() as log:
        inverse.apply(evoked, verbose="INFO")
    assert "60 sources from 90 of the head model's 90 sensors" in log.getvalue()
    with mne.utils.catch_logging() as log:
        inverse.apply(evoked, verbose="ERROR")
    assert log.getvalue() == ""


def test_the_input_is_not_modified(inverse, evoked, epochs, raw):
    for inst in (evoked, epochs, raw):
        inst.info["bads"] = ["Cz", "Fz"]
        before, info = inst.get_data().copy(), inst.info.copy()
        inverse.apply(inst)
        np.testing.assert_array_equal(inst.get_data(), before)
        assert mne.utils.object_diff(info, inst.info) == ""
        assert not inst.info["projs"][0]["active"]


# --------------------------------------------------------------------------------------- projectors


def test_projectors_act_on_both_sides(model, evoked):
    """With a field projected out, the estimate explains what is left, and sees nothing of it."""
    # Not the field of one source alone, which sLORETA, the start, then divides zero by zero for.
    field = model.leadfield[:, 7] + model.leadfield[:, 40]
    field /= np.linalg.norm(field)
    content = {
        "col_names": evoked.ch_names,
        "row_names": None,
        "data": field[None],
        "nrow": 1,
        "ncol": 90,
    }
    blink = mne.Projection(active=False, data=content, desc="blink", kind=1, explained_var=0.5)
    inverse = MMInverse(model, FEW)
    clean = inverse.apply(evoked.add_proj(blink))
    spoilt = evoked.copy()
    spoilt.data += 1e-4 * field[:, None]
    assert_same(inverse.apply(spoilt).data, clean.data, share=1e-3)
    projector = np.eye(90) - np.outer(field, field)
    blind = dataclasses.replace(model, leadfield=projector @ model.leadfield)
    expected = EvidenceEnergy(blind).reconstruct((projector @ evoked.data)[None], max_iter=STEPS)
    assert_same(clean.data, expected.sources[0])


@pytest.mark.parametrize("variance", [0.0, -1e-12, np.nan])
def test_a_covariance_that_is_none_is_named(model, evoked, variance):
    names = list(model.channel_names)
    wrong = mne.Covariance(np.full(len(names), variance), names, [], [], nfree=100)
    with pytest.raises(ValueError, match="the noise covariance must be finite, with variances of"):
        apply_mm(evoked, model, FEW, sensors=SensorSettings(noise_cov=wrong))


def test_a_noise_covariance_of_few_samples_comes_with_a_warning(model, evoked):
    rng, names = np.random.default_rng(0), evoked.ch_names
    raw = mne.io.RawArray(1e-6 * rng.standard_normal((90, 300)), evoked.info, verbose="ERROR")
    raw.set_eeg_reference(projection=True, verbose="ERROR")
    few = {"raw": raw, "tmin": 0, "tmax": None, "verbose": "ERROR"}
    plain = mne.compute_raw_covariance(**few)
    with pytest.warns(RuntimeWarning, match=r"of 203 samples, and that of 90 channels needs 455"):
        apply_mm(evoked, model, FEW, sensors=SensorSettings(noise_cov=plain))
    shrunk = mne.compute_raw_covariance(**few, method="shrunk")
    many = mne.Covariance(plain.data, names, [], [], nfree=455)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for enough in (shrunk, many):
            apply_mm(evoked, model, FEW, sensors=SensorSettings(noise_cov=enough))


def test_a_noise_covariance_whitens(model, evoked, tmp_path):
    plain = apply_mm(evoked, model, FEW)
    white = mne.make_ad_hoc_cov(evoked.info, verbose="ERROR")
    assert_same(
        apply_mm(evoked, model, FEW, sensors=SensorSettings(noise_cov=white)).data,
        plain.data,
        1e-3,
    )
    variance = np.ones(90)
    variance[20] = 1e6  # one electrode that nothing should be believed of
    noisy = mne.Covariance(1e-12 * variance, evoked.ch_names, [], [], 1)
    spoilt = evoked.copy()
    spoilt.data[20] += 1e-3 * np.random.default_rng(0).standard_normal(TIMES)
    path = tmp_path / "noise-cov.fif"
    noisy.save(path, verbose="ERROR")
    expected = apply_mm(evoked, model, FEW, sensors=SensorSettings(noise_cov=path))
    assert_same(
        apply_mm(spoilt, model, FEW, sensors=SensorSettings(noise_cov=path)).data,
        expected.data,
        0.05,
    )
    error = np.abs(apply_mm(spoilt, model, FEW).data - plain.data).max()
    assert error > 0.2 * np.abs(plain.data).max()


# ------------------------------------------------------------------------------------------- epochs


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("generator", [True, False])
def test_epochs_that_were_all_rejected_are_told(inverse, raw, preload, generator):
    events = np.array([[k * TIMES, 0, 1] for k in range(5)])
    epochs = mne.Epochs(
        raw, events, tmin=0, tmax=(TIMES - 1) / SFREQ, baseline=None, reject={"eeg": 1e-12},
        preload=preload, verbose="ERROR",
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match=r"no epoch is left .*: all 5 were rejected: A"):
        assert list(inverse.apply(epochs, return_generator=generator)) == []


# ------------------------------------------------------------------------------------------- misuse


def test_misuse_is_named(model, inverse, evoked, epochs, raw):
    with pytest.raises(
        TypeError, match=r"Evoked, Epochs or Raw, or several Evoked, got ndarray; for arrays use"
    ):
        inverse.apply(evoked.data)
    with pytest.raises(
        TypeError, match=r"HeadModel, an mne.Forward or the path of one, got ndarray"
    ):
        MMInverse(model.leadfield)
    with pytest.raises(TypeError, match=r"mne.Covariance or the path of one, got ndarray"):
        SensorSettings(noise_cov=np.eye(90))
    with pytest.raises(ValueError, match="span is for Raw; crop the Evoked instead"):
        inverse.apply(evoked, span=RawSpan(start=2))
    with pytest.raises(ValueError, match="span is for Raw; crop Epochs instead"):
        inverse.apply(epochs, span=RawSpan(buffer_size=2))
    with pytest.raises(ValueError, match="return_generator is for Epochs and several Evoked: this"):
        inverse.apply(evoked, return_generator=True)
    with pytest.raises(ValueError, match="enclose samples of the 96, got 100, None"):
        inverse.apply(raw, span=RawSpan(start=100))
    with pytest.raises(ValueError, match="buffer_size must be at least 1 sample, got 0"):
        RawSpan(buffer_size=0)
    with pytest.raises(TypeError, match=r"span must be RawSpan\(...\), got 3"):
        inverse.apply(raw, span=3)
    with pytest.raises(ValueError, match="on_missing must be one of"):
        SensorSettings(on_missing="drop")
    graph = np.eye(5, k=1) + np.eye(5, k=-1)
    gain = 100 * np.random.default_rng(0).normal(size=(4, 5))
    bare = head_model_from_leadfield(gain, np.zeros((5, 3)), graph, list("abcd"))
    with pytest.raises(ValueError, match="two cortical surfaces, which this head model does not"):
        MMInverse(bare)
