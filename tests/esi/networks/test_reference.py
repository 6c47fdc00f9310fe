"""A start that estimates stay near: from the evidence or learned, the reference of the energy."""

from __future__ import annotations

import pytest
import torch

import learnmm as lmm
from eeg_learning import TIMES, build, recordings, small
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.networks.configuration import Configuration
from learnmm_esi.networks.energy import PREPARED, PriorSettings
from learnmm_esi.networks.files import load_solver
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.training.losses import distance


def test_the_start_is_what_the_library_estimates_without_weights(head) -> None:
    energy = build(head, "mm-net", start="evidence").energy
    sensors = recordings(head, 5)["sensors"]
    estimate = torch.from_numpy(EvidenceEnergy(head).reconstruct(sensors).sources)
    expected = estimate / estimate.abs().amax((1, 2), keepdim=True)
    torch.testing.assert_close(energy.start(sensors), expected)
    alone = energy.start(-1e-6 * sensors[2:3])
    torch.testing.assert_close(alone, -expected[2:3], rtol=1e-3, atol=1e-5)


def test_a_result_says_where_it_started(head) -> None:
    sensors = recordings(head, 2)["sensors"]
    for start, said in {"evidence": "evidence", "MNE": "linear", "noise": "noise"}.items():
        assert build(head, "mm-net", start=start).reconstruct(sensors).start == said


@pytest.mark.parametrize("nothing", [0.0, float("nan")])
def test_a_recording_without_a_patch_starts_from_the_linear_estimate(
    head, monkeypatch, nothing
) -> None:
    energy = build(head, "mm-net", start="evidence").energy
    sensors = recordings(head, 3)["sensors"]
    found = energy.start(sensors).clone()
    of_solve = EvidenceEnergy.sources
    silent = torch.tensor([1.0, nothing, 1.0], dtype=torch.float64)[:, None, None]
    monkeypatch.setattr(EvidenceEnergy, "sources", lambda *of: silent * of_solve(*of))
    energy.see(head.leadfield)
    linear = build(head, "mm-net", start="sLORETA").energy.start(sensors)
    x = energy.start(sensors)
    torch.testing.assert_close(x[::2], found[::2])
    torch.testing.assert_close(x[1], linear[1])


def test_another_recording_or_cap_is_not_taken_for_the_last(head) -> None:
    energy = build(head, "mm-net", start="evidence").energy
    sensors = recordings(head, 4)["sensors"]
    first, second = energy.start(sensors[:2]), energy.start(sensors[2:])
    assert not torch.equal(first, second)
    assert torch.equal(energy.start(sensors[:2]), first)
    energy.see(head.leadfield[::-1].copy())
    assert not torch.equal(energy.start(sensors[:2]), first)


@pytest.mark.parametrize("start", PREPARED)
def test_the_energy_has_the_start_as_a_reference(head, start) -> None:
    solver = build(head, "mm-net", start=start, reference=3.0)
    sensors = recordings(head, 4)["sensors"]
    x = torch.randn(4, 80, TIMES, generator=torch.Generator().manual_seed(0))
    fit, prior = solver.energy.terms(x, sensors)
    pairs = zip(x.split(1), solver.energy.start(sensors).split(1), strict=True)
    apart = torch.stack([distance(*pair) for pair in pairs])
    expected = fit + solver.energy.weight(sensors) * prior + 3.0 * apart
    torch.testing.assert_close(solver.energy(sensors)(x), expected)


@pytest.mark.parametrize("start", PREPARED)
def test_many_steps_stay_near_a_reference_and_descend(head, start) -> None:
    """However far the prior, which has learned nothing, would lead."""
    apart = {}
    for reference in (0.0, 1e4):
        solver = build(head, "mm-net", start=start, reference=reference)
        solver.unrolled.proposer = lmm.LimitedMemory()
        sensors = recordings(head, 4)["sensors"]
        result = solver.optimizer(sensors, 100).minimize(solver.energy.start(sensors))
        assert bool(result.certificate.monotone.all())
        apart[reference] = float(distance(result.x, solver.energy.start(sensors)).detach())
    # At the start the reference is zero and fit and prior, with its weight, at most 2 and 2 w:
    # descent leaves at most the sum for the reference.
    assert apart[1e4] <= (2 + 2 * 20) / 1e4
    assert apart[0.0] > 0.05


def test_where_there_is_a_reference_unless_told_otherwise() -> None:
    assert small("mm-net", start="evidence").prior.reference == 20.0
    assert small("mm-net", start="learned").prior.reference == 20.0
    assert small("mm-net", start="sLORETA").prior.reference == 0.0
    assert small("mm-net", start="learned", reference=0.5).prior.reference == 0.5
    for wrong in (-1.0, float("nan"), float("inf"), "3", True):
        with pytest.raises(ValueError, match="reference must be zero or more and finite, got"):
            PriorSettings(reference=wrong)  # type: ignore[arg-type]


def test_weights_that_are_silent_on_a_reference_have_none(fsaverage_model) -> None:
    """They are older; what they do stays what it was."""
    solver = load_solver(find_weights("mm-net"), fsaverage_model)
    assert solver.energy.reference == 0
    for settings in ({}, {"prior": None}, None, []):
        with pytest.raises(ValueError, match="weights, but not"):
            Configuration.of("x.safetensors", {"settings": settings})
