"""The source-imaging energy on the real head: bounds, descent, and what it is worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import learnmm as lmm
from adversaries import Hostile, Random
from learnmm.checks import assert_batch_independent, assert_descent, assert_majorant
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.inverse.energy import SourceEnergy, heat_kernel
from learnmm_esi.metrics import Evaluator
from learnmm_esi.problem import ERPProblem
from learnmm_esi.simulation.erp import ERPSimulator

TIMES = 8


@pytest.fixture(scope="module")
def recordings(fsaverage_model):
    return ERPSimulator(fsaverage_model, seed=11, times=TIMES, sfreq=64.0).batch(range(4))


@pytest.fixture(scope="module")
def energies(fsaverage_model):
    return {
        (bound, dtype): SourceEnergy(fsaverage_model, bound=bound, dtype=dtype)
        for bound in ("global", "pointwise")
        for dtype in (torch.float32, torch.float64)
    }


def test_global_bound_holds_on_the_real_head(energies, recordings):
    energy = energies["global", torch.float64]
    objective, x = energy(recordings.sensors), energy.start(recordings.sensors)
    assert objective.bound(x).kind is lmm.Kind.GLOBAL
    assert_majorant(None, objective, x, points=20, search_steps=20)
    assert_majorant(None, objective, torch.randn_like(x), points=20, search_steps=20)


def test_no_step_is_refused_where_every_bound_is_proved(energies, recordings):
    energy = energies["global", torch.float64]
    result = lmm.minimize(
        energy(recordings.sensors),
        energy.start(recordings.sensors),
        proposer=None,
        settings=lmm.SolveSettings(max_iter=100),
    )
    assert int(result.certificate.rejected.sum()) == 0
    assert int(result.certificate.violations.sum()) == 0
    assert bool((result.fun < result.initial_fun / 2).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bound", ["global", "pointwise"])
@pytest.mark.parametrize("adversary", [None, Hostile(), Random()], ids=["own", "hostile", "random"])
@pytest.mark.parametrize("projection", [lmm.Projection(), None], ids=["projected", "free"])
def test_descends_whatever_proposes(energies, recordings, dtype, bound, adversary, projection):
    energy = energies[bound, dtype]
    optimizer = lmm.ProjectedMMOptimizer(
        energy(recordings.sensors),
        proposer=adversary,
        settings=lmm.SolveSettings(projection=projection),
    )
    assert_descent(optimizer, energy.start(recordings.sensors), steps=15)


def test_recordings_do_not_influence_each_other(energies, recordings):
    energy = energies["global", torch.float64]

    def make(indices):
        sensors = recordings.sensors[list(indices)]
        return lmm.ProjectedMMOptimizer(energy(sensors)), energy.start(sensors)

    assert_batch_independent(make, 4)


def test_measured_curvature_needs_fewer_steps_than_proved(energies, recordings):
    """Relaxation of the pointwise bound, verified by the safeguard, pays."""
    finals = [
        float(energies[bound, torch.float64].reconstruct(recordings.sensors, max_iter=20)
              .result.fun.mean())
        for bound in ("global", "pointwise")
    ]  # fmt: skip
    assert finals[1] < 0.7 * finals[0]


def test_units_do_not_matter_and_amplitude_is_restored(energies, recordings, fsaverage_model):
    energy = energies["global", torch.float64]
    volts = energy.reconstruct(recordings.sensors, max_iter=5)
    microvolts = energy.reconstruct(1e6 * recordings.sensors.astype(np.float64), max_iter=5)
    np.testing.assert_allclose(microvolts.sources, 1e6 * volts.sources, rtol=1e-4)
    # Least squares: what is left of the recording is orthogonal to what is explained.
    explained = fsaverage_model.leadfield @ volts.sources
    left = recordings.sensors - explained
    cosine = (left * explained).sum((1, 2)) / np.linalg.norm(explained, axis=(1, 2))
    assert np.abs(cosine / np.linalg.norm(recordings.sensors, axis=(1, 2))).max() < 1e-4


def test_sees_more_of_the_patch_than_minimum_norm(fsaverage_model):
    simulator = ERPSimulator(fsaverage_model, seed=5)
    truth = simulator.batch(range(24))
    evaluate = Evaluator(fsaverage_model, simulator.sfreq)
    kernel = inverse_kernel(fsaverage_model.leadfield, "MNE")
    classical = evaluate(
        truth.sources, apply_kernel(kernel, truth.sensors), truth.seed_source
    ).summary()
    estimate = SourceEnergy(fsaverage_model).reconstruct(truth.sensors, max_iter=40).sources
    ours = evaluate(truth.sources, estimate, truth.seed_source).summary()
    assert ours["auc"] > classical["auc"] + 0.03
    assert ours["localization_error_global"] < classical["localization_error_global"]


def test_heat_kernel_averages_and_never_stretches(fsaverage_model):
    kernel = heat_kernel(fsaverage_model.neighbours, 10.0)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    np.testing.assert_allclose(kernel.sum(1), 1.0)
    assert np.linalg.norm(kernel, 2) <= 1 + 1e-12
    assert kernel.min() > -1e-12


def test_is_found_by_the_registry(fsaverage_model, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(
        "learnmm_esi.problem.fsaverage_head_model", lambda settings: fsaverage_model
    )
    assert "eeg-erp" in lmm.problems()
    drawn = ERPProblem(times=TIMES).instance(2, generator=torch.Generator().manual_seed(0))
    assert_descent(drawn.optimizer(), drawn.x0, steps=3)
    again = ERPProblem(times=TIMES).instance(2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn.x0, again.x0)


@pytest.mark.parametrize(
    ("sensors", "message"),
    [
        (np.ones((2, 5, 3)), r"recordings must have shape \(batch, 90, times\), got \(2, 5, 3\)"),
        (np.zeros((1, 90, 3)), "finite and not zero"),
        (np.full((1, 90, 3), np.nan), "finite and not zero"),
    ],
)
def test_unusable_recordings(energies, sensors, message):
    with pytest.raises(ValueError, match=message):
        energies["global", torch.float64](sensors)


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"diffusion": -1.0}])
def test_settings_without_meaning(fsaverage_model, settings):
    with pytest.raises(ValueError, match="weight and diffusion must be positive"):
        SourceEnergy(fsaverage_model, **settings)
