"""The solver that learns nothing, on the real head: its law, and what it is worth on any cap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import learnmm as lmm
from learnmm.checks import assert_majorant
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.inverse.energy import heat_kernel
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.inverse.signal_components import signal_components
from learnmm_esi.metrics import Evaluator
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.ranges.courses import pink


def capped(model, channels):
    """The head with some of its electrodes."""
    rows = np.sort(np.random.default_rng(channels).permutation(len(model.leadfield))[:channels])
    leadfield = model.leadfield[rows]
    return replace(model, leadfield=leadfield - leadfield.mean(axis=0))


@pytest.fixture(scope="module")
def cap(fsaverage_model):
    return capped(fsaverage_model, 19)


@pytest.fixture(scope="module")
def energy(cap):
    return EvidenceEnergy(cap)


@pytest.fixture(scope="module")
def recordings(cap):
    return ERPSimulator(cap, seed=11, times=16, sfreq=128.0).batch(range(4))


def test_global_bound_holds_on_the_real_head(energy, recordings):
    problem = energy.problem(recordings.sensors)
    assert problem.objective.bound(problem.start).kind is lmm.Kind.GLOBAL
    assert_majorant(None, problem.objective, problem.start, points=10, search_steps=10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_step_is_that_of_the_proposer_and_descends(cap, recordings, dtype):
    result = EvidenceEnergy(cap, dtype=dtype).reconstruct(recordings.sensors, max_iter=20).result
    assert result.x.dtype == dtype
    assert bool(result.certificate.monotone.all())
    assert int(result.certificate.rejected.sum()) == 0
    assert int(result.certificate.violations.sum()) == 0
    falls = result.history.value.diff(dim=0)
    taken = torch.arange(1, len(falls) + 1)[:, None] < result.iterations  # after the first
    assert torch.equal(falls < 0, taken)


@pytest.mark.parametrize("times", [64, 1024])
def test_what_a_wrong_head_leaves_is_hardly_ever_a_patch_of_any_recording(fsaverage_model, times):
    """It is the same in all samples: what differs between samples averages out, and this does not.

    Without `LASTING` there are 15 patches more than sources at 1 024 samples.
    """
    rng = np.random.default_rng(3)
    gain = fsaverage_model.leadfield * rng.uniform(0.9, 1.1, (len(fsaverage_model.leadfield), 1))
    middles = rng.permutation(gain.shape[1])[:16]
    shapes = np.eye(gain.shape[1])[middles] + 0.5 * fsaverage_model.neighbours[middles].toarray()
    clean = (shapes @ gain.T)[..., None] * np.hanning(times)
    noise = rng.standard_normal(clean.shape)
    size = np.linalg.norm(clean, axis=(1, 2)) / np.linalg.norm(noise, axis=(1, 2))
    sensors = clean + 10 ** (-10 / 20) * size[:, None, None] * noise
    sensors -= sensors.mean(axis=1, keepdims=True)
    found = EvidenceEnergy(fsaverage_model).problem(sensors).patches.asked.sum(1)
    assert int(found.sum()) <= 1.25 * len(middles)


def test_ongoing_activity_does_not_move_the_peak_to_what_is_hardly_seen(fsaverage_model):
    """Twelve wide patches, each as strong as slow activity of 32 places, over 400 samples.

    By the evidence alone the largest source is one in a fold, which explains next to nothing, in
    half of them.
    """
    model = capped(fsaverage_model, 64)
    wide, narrow = (heat_kernel(model.neighbours, width) for width in (20.0, 4.0))
    time = np.linspace(0, 1, 400)
    course = np.exp(-0.5 * ((time - 0.5) / 0.1) ** 2) * np.sin(30 * time)
    recordings, true = [], []
    for number in range(12):
        rng = np.random.default_rng([0, number])
        places = rng.integers(994, size=32)
        true.append(int(rng.integers(994)))
        slow = model.leadfield @ narrow[places].T @ pink(32, 400, rng)
        clean = np.outer(model.leadfield @ wide[true[-1]], course)
        white = rng.standard_normal(clean.shape)
        white -= white.mean(axis=0)
        parts = [part / np.linalg.norm(part) for part in (clean, slow, white)]
        recordings.append(np.tensordot([1.0, np.sqrt(0.8), np.sqrt(0.2)], parts, 1))
    found = EvidenceEnergy(model).reconstruct(np.stack(recordings)).sources
    away = np.asarray(model.distances)[np.square(found).sum(2).argmax(1), true]
    assert (away < 0.02).sum() >= 11  # six without `FALL`


@pytest.mark.parametrize("channels", [19, 32])
def test_is_closer_than_sloreta_on_every_cap_at_any_number_of_steps(fsaverage_model, channels):
    model = capped(fsaverage_model, channels)
    simulator = ERPSimulator(model, seed=5)
    truth = simulator.batch(range(16))
    evaluate = Evaluator(model, simulator.sfreq)

    def summary(sources):
        return evaluate(truth.sources, sources, truth.seed_source).summary()

    linear = summary(apply_kernel(inverse_kernel(model.leadfield), truth.sensors))
    energy = EvidenceEnergy(model)
    for steps in (3, 20):
        ours = summary(energy.reconstruct(truth.sensors, max_iter=steps).sources)
        error = "localization_error_global"
        assert ours[error] < 0.8 * linear[error]
        assert ours["auc"] > linear["auc"] + 0.05
        assert ours["psnr"] > linear["psnr"] + 5


def test_leaves_what_the_noise_explains(cap, energy):
    """The residual of the estimate has the power of the noise (discrepancy principle)."""
    for snr_db in (0.0, 10.0):
        recordings = ERPSimulator(cap, seed=3, snr_db=snr_db).batch(range(8))
        reconstruction = energy.reconstruct(recordings.sensors)
        left = recordings.sensors - cap.leadfield @ reconstruction.sources
        share = (left**2).sum((1, 2)) / (recordings.sensors**2).sum((1, 2))
        noise = 1 / (1 + 10 ** (snr_db / 10))
        assert share.mean() == pytest.approx(noise, rel=0.2)
        assert float(reconstruction.noise.share.mean()) == pytest.approx(noise, rel=0.2)


def test_units_do_not_matter_and_amplitude_is_restored(cap, energy, recordings):
    volts = energy.reconstruct(recordings.sensors, max_iter=5)
    microvolts = energy.reconstruct(1e6 * recordings.sensors.astype(np.float64), max_iter=5)
    np.testing.assert_allclose(microvolts.sources, 1e6 * volts.sources, rtol=1e-4, atol=1e-9)
    explained = cap.leadfield @ volts.sources
    left = recordings.sensors - explained
    cosine = (left * explained).sum((1, 2)) / np.linalg.norm(explained, axis=(1, 2))
    assert np.abs(cosine / np.linalg.norm(recordings.sensors, axis=(1, 2))).max() < 1e-4


@pytest.mark.parametrize("times", [1, 3])
def test_recordings_of_any_length_are_solved_each_for_itself(energy, recordings, times):
    sensors = recordings.sensors[:, :, 8 : 8 + times]
    together = energy.reconstruct(sensors, max_iter=5).sources
    assert together.shape == (4, 994, times)
    for one, alone in zip(together, sensors, strict=True):
        expected = energy.reconstruct(alone[None], max_iter=5).sources[0]
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_a_recording_of_noise_alone_has_an_estimate(energy):
    noise = np.random.default_rng(0).standard_normal((2, 19, 10))
    reconstruction = energy.reconstruct(noise - noise.mean(axis=1, keepdims=True))
    assert np.isfinite(reconstruction.sources).all()
    assert float(reconstruction.noise.share.min()) > 0.7


def test_components_are_those_above_the_noise():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 20, 50, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(50, 3, generator=generator, dtype=torch.float64))[0]
    patterns = torch.linalg.qr(torch.randn(20, 3, generator=generator, dtype=torch.float64))[0]
    planted = noise.clone()
    for i, rank in enumerate((0, 1, 3)):
        planted[i] += 40 * patterns[:, :rank] @ basis[:, :rank].mT
    parts = signal_components(planted, torch.full((3,), 50.0, dtype=torch.float64))
    assert parts.rank.tolist() == [1, 1, 3]  # the strongest always stays
    assert parts.values.shape == (3, 20, 3)
    assert not bool(parts.values[:2, :, 1:].any())
    identity = parts.courses @ parts.courses.mT
    torch.testing.assert_close(identity, torch.eye(3, dtype=torch.float64).expand(3, -1, -1))
    signal = (parts.values @ parts.courses)[2]
    expected = 40 * patterns @ basis.mT
    assert float((signal - expected).norm() / expected.norm()) < 0.3


@pytest.mark.parametrize(
    ("sensors", "message"),
    [
        (np.ones((2, 5, 3)), r"EvidenceEnergy: .* \(batch, 19, times\), got \(2, 5, 3\)"),
        (np.zeros((1, 19, 3)), "finite and not zero"),
        (np.full((1, 19, 3), np.nan), "finite and not zero"),
    ],
)
def test_unusable_recordings(energy, sensors, message):
    with pytest.raises(ValueError, match=message):
        energy.problem(sensors)


@pytest.mark.parametrize("diffusion", [-1.0, (1.0, -1.0), ()], ids=str)
def test_settings_without_meaning(cap, diffusion):
    with pytest.raises(ValueError, match="EvidenceEnergy: diffusion must not be negative, got"):
        EvidenceEnergy(cap, diffusion=diffusion)


def test_what_is_expected_has_no_unit_and_all_alike_is_nothing(energy, recordings) -> None:
    plain = energy.reconstruct(recordings.sensors).sources
    for alike in (np.ones((4, 994)), np.zeros((4, 994)), np.full((4, 994), 1e-30)):
        found = energy.reconstruct(recordings.sensors, expected=alike).sources
        np.testing.assert_array_equal(found, plain)
    power = np.random.default_rng(0).random((4, 994)) ** 20
    found = energy.reconstruct(recordings.sensors, expected=power).sources
    again = energy.reconstruct(recordings.sensors, expected=1e-9 * power).sources
    np.testing.assert_allclose(again, found, rtol=1e-5, atol=1e-6 * np.abs(found).max())
    assert not np.allclose(found, plain, atol=1e-2 * np.abs(plain).max())
    for i, alone in enumerate(recordings.sensors):
        one = energy.reconstruct(alone[None], expected=power[i : i + 1]).sources[0]
        np.testing.assert_allclose(one, found[i], rtol=1e-4, atol=1e-6 * np.abs(one).max())


def test_what_is_expected_is_found_where_the_recording_is_not_clear(fsaverage_model, cap) -> None:
    noisy = ERPSimulator(cap, seed=3, times=16, sfreq=128.0, snr_db=-10.0).batch(range(24))
    near = np.asarray(fsaverage_model.distances)[noisy.seed_sources[:, 0]]
    expected = np.exp(-0.5 * (near / 0.02) ** 2)
    score = Evaluator(cap, 128.0)
    energy = EvidenceEnergy(cap)
    plain, told = (
        score(noisy.sources, energy.reconstruct(noisy.sensors, **how).sources, noisy.seed_source)
        for how in ({}, {"expected": expected})
    )
    assert told.localization_error.mean() < plain.localization_error.mean()


def test_a_clear_recording_is_not_talked_out_of_its_place(fsaverage_model) -> None:
    clear = ERPSimulator(fsaverage_model, seed=5, times=64, snr_db=20.0).batch(range(12))
    energy = EvidenceEnergy(fsaverage_model)
    away = np.asarray(fsaverage_model.distances)[clear.seed_sources[:, 0]] > 0.05
    misled = energy.reconstruct(clear.sensors, expected=away.astype(float)).sources
    found = np.square(misled).sum(2).argmax(1)
    assert not away[np.arange(12), found].any()


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (np.ones((4, 993)), r"must have shape \(4, 994\), got \(4, 993\)"),
        (np.ones(994), r"must have shape \(4, 994\), got \(994,\)"),
        (-np.ones((4, 994)), "must be finite and not negative"),
        (np.full((4, 994), np.nan), "must be finite and not negative"),
        (np.full((4, 994), np.inf), "must be finite and not negative"),
    ],
)
def test_expectations_without_meaning(energy, recordings, expected, message) -> None:
    with pytest.raises(ValueError, match=f"EvidenceEnergy: what is expected {message}"):
        energy.problem(recordings.sensors, expected)


def test_another_lead_field_is_taken_as_if_it_had_been_the_first(fsaverage_model, cap, recordings):
    found = EvidenceEnergy(cap).reconstruct(recordings.sensors).sources
    energy = EvidenceEnergy(capped(fsaverage_model, 32))
    energy.see(cap.leadfield)
    np.testing.assert_array_equal(energy.reconstruct(recordings.sensors).sources, found)
    with pytest.raises(ValueError, match=r"a lead field of 994 sources, got shape \(19, 5\)"):
        energy.see(cap.leadfield[:, :5])
    with pytest.raises(ValueError, match="1 of 994 sources that no sensor sees"):
        energy.see(cap.leadfield * (np.arange(994) != 7))
    np.testing.assert_array_equal(energy.reconstruct(recordings.sensors).sources, found)
