"""Spaces of Hessians: what pairs tell is true, and whatever they tell, the metric is one."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from draws import normal
from learnmm import checks
from learnmm.families.space import coefficients_of, fitted_space

DTYPE = torch.float64
N = 6


def family(count: int, directions: int, seed: int) -> Tensor:
    """Hessians ``A^T diag(w) A`` with weights that vary in a few directions, ``(M, n, n)``."""
    matrix = normal(3 * N, N, seed=seed)
    turns = torch.rand(directions, 3 * N, generator=torch.Generator().manual_seed(seed)).double()
    amounts = torch.rand(count, directions, generator=torch.Generator().manual_seed(seed + 1))
    weights = 0.5 + amounts.double() @ turns / directions
    return matrix.mT @ (weights[:, :, None] * matrix)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), directions=st.integers(1, 4))
def test_the_space_holds_the_hessians(seed: int, directions: int) -> None:
    hessians = family(12, directions, seed)
    space, coefficients = fitted_space(hessians, 10)
    assert space.directions <= directions
    inside = space.base + torch.einsum("mk,kij->mij", coefficients, space.principal)
    rebuilt = space.root @ inside @ space.root
    scale = hessians.abs().amax() * torch.linalg.cond(hessians.mean(0))
    assert bool(((rebuilt - hessians).abs() <= 1e4 * torch.finfo(DTYPE).eps * scale).all())
    torch.testing.assert_close(coefficients_of(space, hessians), coefficients, rtol=1e-6, atol=1e-7)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), directions=st.integers(1, 4))
def test_pairs_tell_the_hessian_of_an_unseen_problem(seed: int, directions: int) -> None:
    """From the mean it is off; after pairs of one quadratic it is that quadratic's, nearly."""
    hessians = family(24, directions, seed)
    space, _ = fitted_space(hessians[:20], 10)
    unseen = hessians[20:]
    memory = space.prepare(normal(4, N, seed=0), normal(4, N, seed=0))
    like = torch.zeros(4, N, dtype=DTYPE)

    def error() -> Tensor:
        units = torch.eye(N, dtype=DTYPE)
        curvature = space.curvature(like, memory)
        columns = [curvature.apply(unit.expand(4, -1)) for unit in units]
        off = space.inverse @ (torch.stack(columns, 2) - unseen) @ space.inverse
        return torch.linalg.matrix_norm(off)

    before = error()
    for k in range(4):
        move = normal(4, N, seed=seed + 2 + k)
        change = torch.einsum("bij,bj->bi", unseen, move)
        memory = space.observe(move, change, memory)
    # The prior holds coefficients back by its noise, 1e-4, over their variance: by a few per cent
    # of what the problem is off, unless that is next to nothing.
    assert bool((error() <= 0.25 * before + 0.05).all())


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.floats(0.0, 1e8))
def test_whatever_is_believed_is_positive_definite(seed: int, size: float) -> None:
    space, _ = fitted_space(family(12, 3, seed), 10)
    wild = size * normal(3, space.directions, seed=seed)
    curvature = space.curvature(normal(3, N, seed=1), space.believed(wild))
    assert bool(curvature.valid().all())
    checks.assert_curvature(curvature, normal(3, N, seed=seed))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_what_is_no_pair_changes_no_bit(seed: int) -> None:
    space, _ = fitted_space(family(12, 3, seed), 10)
    x = normal(3, N, seed=seed)
    memory = space.prepare(x, x)
    move = normal(3, N, seed=seed + 1)
    memory = space.observe(move, move, memory)
    still = torch.zeros_like(move)
    for pair in (
        (still, still),
        (move, -move),
        (move, move / 0),
        (move, torch.full_like(move, torch.nan)),
    ):
        after = space.observe(*pair, memory)
        for one, other in zip(after, memory, strict=True):
            assert torch.equal(one, other)


def test_hessians_that_are_all_the_same_need_no_directions() -> None:
    space, coefficients = fitted_space(family(1, 1, 0).expand(8, -1, -1), 10)
    assert space.directions == 0
    assert coefficients.shape == (8, 0)
    x = normal(2, N, seed=0)
    memory = space.observe(x, x, space.prepare(x, x))
    assert bool(space.curvature(x, memory).valid().all())


def test_directions_without_curvature_are_no_trouble() -> None:
    """The mean is singular, and indefinite by rounding."""
    matrix = normal(3, N, seed=0)
    hessians = torch.stack([matrix.mT @ (w * matrix) for w in torch.linspace(0.5, 2.0, 9).double()])
    space, _ = fitted_space(hessians, 10)
    x = normal(2, N, seed=1)
    curvature = space.curvature(x, space.prepare(x, x))
    assert bool(curvature.valid().all())
    assert bool(torch.isfinite(curvature.solve(x)).all())
