"""Every method: it learns, it descends if it is verified, recordings do not see each other."""

from __future__ import annotations

import pytest
import torch

from eeg_learning import FIXED_LENGTH, METHODS, TIMES, UNVERIFIED, build, recordings
from learnmm_esi.networks.energy import PriorSettings
from learnmm_esi.networks.registry import method
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.training.losses import LOSSES


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_from_both_losses(head, name) -> None:
    """A few steps on one batch lower the loss, and every weight that proposes takes part."""
    batch = recordings(head)
    for make in LOSSES.values():
        solver = build(head, name)
        outer = make(solver)
        adam = torch.optim.Adam(solver.parameters(), lr=5e-3)
        values = []
        for _ in range(6):
            loss, scalars = outer(solver(batch, verified=False), batch)
            adam.zero_grad()
            loss.backward()
            adam.step()
            values.append(float(loss.detach()))
            assert set(scalars) == {"estimate", "prior"}
        assert values[-1] < values[0]
        idle = [n for n, p in solver.named_parameters() if p.requires_grad and p.grad is None]
        assert not idle


@pytest.mark.parametrize("name", METHODS)
def test_verified_methods_descend_at_any_horizon(head, name) -> None:
    """Untrained, so what is proposed is bad; 60 steps are six times the paper's."""
    solver = build(head, name)
    with torch.no_grad():
        for parameter in solver.proposer.parameters():
            parameter.mul_(3.0)
        solved = solver(recordings(head), steps=60)
    assert bool(torch.isfinite(solved.x).all())
    rise = solved.values.diff(dim=0).max()
    certificate = solver.unrolled.certificate(solved)
    if name in UNVERIFIED:
        assert not certificate.safeguarded
        assert float(rise) > 0, "the comparison says nothing if this one descends by itself"
    else:
        assert float(rise) <= 0
        assert bool(certificate.monotone.all())


@pytest.mark.parametrize("name", METHODS)
def test_recordings_of_a_batch_do_not_see_each_other_nor_units(head, name) -> None:
    solver, batch = build(head, name), recordings(head)
    with torch.no_grad():
        together = solver(batch).x
        alone = solver(batch["sensors"][2:3] * 1e3).x
    torch.testing.assert_close(
        together[2:3], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())
    )


@pytest.mark.parametrize("name", [m for m in METHODS if m not in FIXED_LENGTH])
def test_networks_take_recordings_of_any_length(head, name) -> None:
    sensors = recordings(head)["sensors"]
    longer = torch.cat([sensors, sensors], 2)
    assert build(head, name)(longer).x.shape[2] == 2 * TIMES


@pytest.mark.parametrize("name", FIXED_LENGTH)
def test_methods_tied_to_a_length_say_so(head, name) -> None:
    sensors = recordings(head)["sensors"][:, :, :-1]
    with pytest.raises(ValueError, match=f"built for recordings of {TIMES} samples, got 15"):
        build(head, name)(sensors)


def test_parameter_counts_are_those_of_the_paper_where_it_tells(fsaverage_model) -> None:
    """Kernels over time alone have a third of the 3 x 3 kernels' weights (MM-Net, 4DVarNet)."""
    prior = PriorSettings(width=128, reach=3)
    counts = {
        name: SourceSolver(
            fsaverage_model, method(name, start="noise", prior=prior)
        ).parameter_counts()
        for name in METHODS
    }
    for count in counts.values():
        assert count["energy"] in (812_544, 812_545)  # with the weight of the prior
    assert round(counts["meta-curvature"]["all"] / 1e6, 2) == 1.80
    assert round(counts["modgrad"]["all"] / 1e6, 1) == 1.3
    network = counts["mm-net"]["proposes"]
    assert abs(3 * network + 812_544 - 2.95e6) < 0.05e6
    assert abs(3 * counts["4dvarnet"]["proposes"] + 812_544 - 3.01e6) < 0.05e6


def test_noise_start_is_the_papers_and_the_same_for_all(head) -> None:
    solver = build(head, "mm-net", start="noise")
    start = solver.energy.start(recordings(head)["sensors"])
    assert torch.equal(start[0], start[1])
    assert float(start.abs().max()) == pytest.approx(1e-3)


def test_weights_of_the_energy_can_be_fixed(head) -> None:
    solver = build(head, "mm-net", weight=3.0, learn_weight=False)
    assert not solver.energy.log_weight.requires_grad
    assert float(solver.energy.log_weight.detach().exp()) == pytest.approx(3.0)
