"""Extrapolated steps: those of FISTA on quadratic functions, and fewer than the majorant's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.checks import assert_batch_independent
from learnmm.proposers import Extrapolated
from learnmm.proximal import L1, GroupL2, TotalVariation

A, Y = normal(20, 30), normal(2, 20, seed=1)
START = torch.zeros(2, 30, dtype=torch.float64)


def fista(level: float, steps: int) -> Tensor:
    """Beck & Teboulle (2009), section 4, restarted by the gradient."""
    x, ahead, age = START, START, torch.ones(2, 1, dtype=A.dtype)
    steepness = float(torch.linalg.matrix_norm(A, 2)) ** 2
    for _ in range(steps):
        forward = ahead - (ahead @ A.T - Y) @ A / steepness
        new = forward - forward.clamp(-level / steepness, level / steepness)
        older = (1 + (1 + 4 * age**2).sqrt()) / 2
        older[((ahead - new) * (new - x)).sum(1) > 0] = 1.0
        following = (1 + (1 + 4 * older**2).sqrt()) / 2
        x, ahead, age = new, new + (older - 1) / following * (new - x), older
    return x


def test_on_quadratic_functions_it_is_fista() -> None:
    steepness = torch.linalg.matrix_norm(A, 2) ** 2
    solver = lmm.ProjectedMMOptimizer(
        lmm.least_squares(A, Y) + L1(1.0),
        majorant=lmm.majorants.LipschitzMajorant(float(steepness)),
        proposer=Extrapolated(),
        settings=lmm.SolveSettings(gtol=0.0),
    )
    state = solver.init(START)
    for step in range(1, 26):
        state, info = solver.step(state)
        assert bool((info.accepted & info.proposed).all())
        assert torch.allclose(state.x, fista(1.0, step), rtol=0, atol=1e-12)


IMAGE = torch.zeros(2, 8, 8, dtype=torch.float64)
IMAGE[:, 2:6, 3:7] = 1.0
BLUR = lmm.linear.convolution(torch.full((3, 3), 1 / 9, dtype=torch.float64), (8, 8))
DATA = lmm.Quadratic(BLUR(IMAGE) + 0.02 * normal(2, 8, 8, seed=4)) @ BLUR


@pytest.mark.parametrize(
    "penalty",
    [TotalVariation(0.01, (-2, -1), isotropic=False), GroupL2(0.01)],
    ids=["variation", "groups"],
)
def test_it_takes_at_most_half_the_steps_and_is_the_default(penalty: Any) -> None:
    fast = lmm.minimize(DATA + penalty, 0 * IMAGE)
    assert fast.certificate.proposer == "Extrapolated"
    assert bool(fast.success.all())
    assert bool(fast.certificate.monotone.all())
    twice = lmm.SolveSettings(max_iter=2 * int(fast.iterations.max()))
    slow = lmm.minimize(DATA + penalty, 0 * IMAGE, proposer=None, settings=twice)
    assert not bool(slow.success.any())
    assert bool((fast.fun < slow.fun).all())


def test_problems_are_independent() -> None:
    level = torch.tensor([[0.0], [0.1], [1.0], [10.0]], dtype=A.dtype)[:, None]
    targets = normal(4, 5, 6, seed=2)

    def build(rows: Tensor) -> Any:
        energy = lmm.Quadratic(targets[rows]) @ normal(5, 5, seed=3) + GroupL2(level[rows])
        solver = lmm.ProjectedMMOptimizer(energy, proposer=Extrapolated())
        return solver, torch.zeros_like(targets[rows])

    assert_batch_independent(build, 4, steps=8)


def test_other_proposers_need_faces() -> None:
    with pytest.raises(ValueError, match=r"GroupL2 has no faces .* or pass Extrapolated\(\) or"):
        lmm.ProjectedMMOptimizer(DATA + GroupL2(), proposer=lmm.LimitedMemory())
