"""Networks that propose multipliers: their equations, their bases, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import learnmm as lmm
from draws import normal
from learnmm.proposers.conv_lstm import CellMemory, ConvLSTMCell
from learnmm.proposers.coordinatewise import CoordinateLSTM, CoordinateMemory
from learnmm.solve.projection import multiplied_step

DTYPE = torch.float64


# --- multipliers in a basis --------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_multipliers_in_a_basis_keep_the_interval(seed: int, rank: int) -> None:
    """``lower B^-1 <= P <= upper B^-1`` with ``P`` from columns of the identity, densely."""
    n = 5
    basis = torch.linalg.qr(normal(n, rank, seed=seed))[0]
    weights = normal(n, n, seed=seed + 1)
    vectors, values, _ = torch.linalg.svd(weights)
    curvature = lmm.curvature.LowRankCurvature(
        torch.full((n,), 0.3, dtype=DTYPE), values.expand(n, n).contiguous(), vectors
    )
    generator = torch.Generator().manual_seed(seed)
    values = 3 * torch.rand(1, rank + 1, generator=generator, dtype=DTYPE) - 1
    interval = lmm.Projection(0.2, 1.2)
    eye = torch.eye(n, dtype=DTYPE)
    proposed = lmm.Multipliers(values.expand(n, -1), basis)
    proposal = multiplied_step(curvature, eye, proposed, interval)
    inverse = curvature.solve(eye)
    root = torch.linalg.cholesky(torch.linalg.inv(inverse))
    relative = torch.linalg.eigvalsh(root.mT @ proposal.step @ root)
    inside = interval(values)
    assert float(relative.min()) >= float(inside.min()) - 1e-9
    assert float(relative.max()) <= float(inside.max()) + 1e-9
    torch.testing.assert_close(proposal.slope, proposal.step.diagonal(), rtol=1e-8, atol=1e-12)
    bend = (proposal.step * curvature.apply(proposal.step)).sum(1)
    torch.testing.assert_close(proposal.bend, bend, rtol=1e-8, atol=1e-12)


def test_spectral_multipliers_of_one_are_the_majorants_own_step() -> None:
    class Ones(lmm.proposers.SpectralLSTM):
        def propose(self, point: lmm.Point, memory: CoordinateMemory) -> lmm.Multipliers:
            proposed = super().propose(point, memory)
            return proposed._replace(values=torch.ones_like(proposed.values))

    matrix, y, x0 = normal(4, 6), normal(3, 4, seed=1), normal(3, 6, seed=2)
    atom = lmm.least_squares(matrix, y)
    settings = lmm.SolveSettings(max_iter=3, gtol=0.0)
    plain, spectral = (
        lmm.minimize(atom, x0, settings=settings, proposer=proposer)
        for proposer in (None, Ones(matrix).to(DTYPE))
    )
    torch.testing.assert_close(spectral.x, plain.x)
    assert spectral.certificate.proposed.all()


def test_spectral_multipliers_turn_with_the_operator() -> None:
    """In coordinates that the operator brings along, a rotation of the unknowns is nothing."""
    matrix, y, x0 = normal(4, 6), normal(3, 4, seed=1), normal(3, 6, seed=2)
    rotation = torch.linalg.qr(normal(6, 6, seed=3))[0]
    settings = lmm.SolveSettings(max_iter=4, gtol=0.0)

    def solved(operator: Tensor, start: Tensor) -> Tensor:
        torch.manual_seed(0)
        proposer = lmm.proposers.SpectralLSTM(operator, 4).to(DTYPE)
        # A singular vector is known up to its sign.
        flip = (proposer.vectors * (operator.mT @ normal(4, seed=4))[:, None]).sum(0).sign()
        proposer.vectors *= flip
        atom = lmm.least_squares(operator, y)
        return lmm.minimize(atom, start, settings=settings, proposer=proposer).x

    turned = solved(matrix @ rotation.mT, x0 @ rotation.mT)
    torch.testing.assert_close(turned @ rotation, solved(matrix, x0), rtol=1e-7, atol=1e-8)


# --- equations ---------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_one_step_of_the_coordinates_is_that_of_an_lstm_cell(seed: int) -> None:
    torch.manual_seed(seed)
    network, reference = CoordinateLSTM(3, 5).to(DTYPE), nn.LSTMCell(3, 5, dtype=DTYPE)
    reference.load_state_dict(network.cell.state_dict())
    inputs, memory = normal(2, 4, 3, seed=seed), CoordinateMemory(*normal(2, 2, 4, 5, seed=seed))
    found = network(inputs, memory)
    flat = (inputs.flatten(0, 1), tuple(part.flatten(0, 1) for part in memory))
    for ours, theirs in zip(found, reference(*flat), strict=True):
        torch.testing.assert_close(ours.flatten(0, 1), theirs)


def test_a_convolutional_cell_of_one_sample_is_an_lstm_cell() -> None:
    """Its gates come in the order enter, forget, leave, new; those of torch with the last two
    swapped.
    """
    cell, reference = ConvLSTMCell(3, 5, 1).to(DTYPE), nn.LSTMCell(3, 5, dtype=DTYPE)
    order = [*range(10), *range(15, 20), *range(10, 15)]
    weight, bias = cell.gates.weight[order, :, 0], cell.gates.get_parameter("bias")[order]
    reference.load_state_dict(
        {
            "weight_ih": weight[:, :3],
            "weight_hh": weight[:, 3:],
            "bias_ih": bias,
            "bias_hh": 0 * bias,
        }
    )
    inputs, memory = normal(4, 3), normal(2, 4, 5, seed=1)
    found = cell(inputs[:, :, None], CellMemory(*memory[..., None]))
    for ours, theirs in zip(found, reference(inputs, tuple(memory)), strict=True):
        torch.testing.assert_close(ours[..., 0], theirs)


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_convolutional_multipliers_come_for_any_number_of_samples(samples: int) -> None:
    x0 = normal(2, 3, samples)
    proposer = lmm.proposers.DualConvLSTM(3, hidden=4, kernel=5)
    optimizer = lmm.ProjectedMMOptimizer(lmm.Quadratic(0 * x0), proposer=proposer)
    state, info = optimizer.step(optimizer.init(x0))
    assert state.x.shape == x0.shape
    assert info.accepted.all()
    assert info.proposed.all()


@pytest.mark.parametrize("unit", [1e-12, 1e12])
@pytest.mark.parametrize("energy", [1e-12, 1e12])
def test_networks_see_no_units(unit: float, energy: float) -> None:
    proposers = lmm.proposers.CoordinatewiseLSTM(4), lmm.proposers.DualConvLSTM(3, hidden=4)
    for proposer in (p.to(DTYPE) for p in proposers):
        x, gradient = normal(2, 3, 5), normal(2, 3, 5, seed=1)
        curvature = lmm.curvature.ScalarCurvature(torch.ones(2, dtype=DTYPE))
        plain = lmm.Point(x, gradient, curvature)
        scaled = lmm.Point(unit * x, energy / unit * gradient, curvature)
        found = []
        for point in (plain, scaled):
            memory = proposer.observe(point, proposer.init_memory(point.x))
            found.append(proposer.propose(point, memory).values)
        torch.testing.assert_close(*found)


# --- what is refused ---------------------------------------------------------------------------


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel must be odd to keep the length, got 4"):
        lmm.proposers.DualConvLSTM(3, kernel=4)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3), (2, 3, 5, 1)])
def test_iterates_of_another_shape_are_refused_at_the_start(shape: tuple[int, ...]) -> None:
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.ones(shape)), proposer=lmm.proposers.DualConvLSTM(3)
    )
    with pytest.raises(ValueError, match=r"DualConvLSTM expects iterates \(B, 3, T\), got \(2, "):
        optimizer.init(torch.ones(shape))


def test_an_operator_of_zeros_has_no_coordinates() -> None:
    with pytest.raises(ValueError, match="SpectralLSTM expects a matrix with an entry other than"):
        lmm.proposers.SpectralLSTM(torch.zeros(3, 5))
