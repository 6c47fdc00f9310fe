"""Known Hessians under limited memory: exact where they are right, left where they are wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm import checks
from learnmm.curvature import DiagonalCurvature, ScalarCurvature
from learnmm.dense import FactoredCurvature
from learnmm.proposers import KnownHessian, KnownSpectrum
from learnmm.proposers.limited_memory import judged
from learnmm.spectral import cosines, transformed

DTYPE = torch.float64
N = 5


def positive(seed: int, spread: float = 1.0, size: int = N) -> Tensor:
    """A random symmetric matrix with eigenvalues from ``e^-spread`` to ``e^spread``."""
    basis = torch.linalg.qr(normal(size, size, seed=seed)).Q
    values = (
        spread * (2 * torch.rand(size, generator=torch.Generator().manual_seed(seed)) - 1)
    ).exp()
    return (basis * values.double()) @ basis.mT


def valley(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3))
def test_a_factored_curvature_is_one(seed: int, batch: int) -> None:
    root = positive(seed)
    factor = torch.linalg.cholesky(torch.stack([positive(seed + k) for k in range(batch)]))
    level = normal(batch, seed=seed).exp()
    curvature = FactoredCurvature(root, torch.linalg.inv(root), factor, level)
    checks.assert_curvature(curvature, normal(batch, N, seed=seed))


def test_a_factored_curvature_refuses_what_does_not_fit() -> None:
    eye = torch.eye(N, dtype=DTYPE)
    with pytest.raises(
        ValueError, match=r"factor \(B, n, n\).*got \(5, 5\), \(5, 5\), \(2, 4, 4\)"
    ):
        FactoredCurvature(eye, eye, torch.ones(2, 4, 4, dtype=DTYPE), torch.ones(2, dtype=DTYPE))


@given(seed=st.integers(0, 10**6))
def test_the_hessian_of_a_quadratic_solves_it_at_once(seed: int) -> None:
    matrix, target = positive(seed, 3.0), normal(3, N, seed=seed)

    def fun(x: Tensor) -> Tensor:
        return ((x - target) @ matrix * (x - target)).sum(1) / 2

    proposer = lmm.LimitedMemory(metric=KnownHessian(matrix))
    x0 = target + normal(3, N, seed=seed + 1)
    state, info = (opt := lmm.ProjectedMMOptimizer(fun, proposer=proposer)).step(opt.init(x0))
    assert bool(info.accepted.all())
    scale = torch.linalg.cond(matrix) * target.abs().amax().clamp(min=1.0)
    assert bool(((state.x - target).abs() <= 64 * N * torch.finfo(DTYPE).eps * scale).all())


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), spread=st.floats(0.0, 12.0))
def test_steps_descend_whatever_the_metric(seed: int, spread: float) -> None:
    proposer = lmm.LimitedMemory(metric=KnownHessian(positive(seed, spread)))
    x0 = normal(4, N, seed=seed)
    checks.assert_descent(lmm.ProjectedMMOptimizer(valley, proposer=proposer), x0, 12)


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6))
def test_the_judgement_has_no_units(seed: int, scale: float) -> None:
    """A factor on a curvature, or on move or change, says nothing of its shape."""
    move, change = normal(3, N, seed=seed), normal(3, N, seed=seed + 1)
    change = torch.where((move * change).sum(1, keepdim=True) > 0, change, -change)
    own = DiagonalCurvature(normal(3, N, seed=seed + 2).exp())
    known = DiagonalCurvature(normal(3, N, seed=seed + 3).exp())
    plain = judged(move, change, own, known)
    moved = judged(scale * move, change / scale, own.scaled(scale), known.scaled(1 / scale))
    # Logarithms of sums of N terms, each rounded.
    torch.testing.assert_close(moved, plain, rtol=0, atol=64 * N * torch.finfo(DTYPE).eps)


@given(seed=st.integers(0, 10**6))
def test_the_judgement_prefers_the_truth(seed: int) -> None:
    """Where the change is the Hessian times the move, no other metric is preferred to it."""
    matrix, move = positive(seed, 2.0), normal(3, N, seed=seed)
    known = KnownHessian(matrix).curvature(move, None)
    other = DiagonalCurvature(normal(3, N, seed=seed + 1).exp())
    favour = judged(move, move @ matrix, other, known)
    assert bool((favour >= -64 * N * torch.finfo(DTYPE).eps * torch.linalg.cond(matrix)).all())


def test_pairs_without_curvature_say_nothing() -> None:
    move = normal(2, N, seed=0)
    flat = ScalarCurvature(torch.ones(2, dtype=DTYPE))
    known = DiagonalCurvature(normal(2, N, seed=1).exp())
    for change in (-move, torch.zeros_like(move)):
        assert torch.equal(judged(move, change, flat, known), torch.zeros(2, dtype=DTYPE))


def test_a_wrong_metric_costs_little() -> None:
    """The inverse of the right one, on an ill-conditioned quadratic: left after the first pairs."""
    scales = torch.logspace(0, 3, 20, dtype=DTYPE)

    def fun(x: Tensor) -> Tensor:
        return (scales * x**2).sum(1) / 2 + (x / 3).cosh().log().sum(1)

    x0 = normal(16, 20, seed=3)
    plain = lmm.minimize(fun, x0, proposer=lmm.LimitedMemory())
    wrong = lmm.LimitedMemory(metric=KnownHessian(torch.diag(1 / scales)))
    misled = lmm.minimize(fun, x0, proposer=wrong)
    assert bool(misled.success.all())
    assert float(misled.iterations.double().median()) <= 1.2 * float(
        plain.iterations.double().median()
    )


def test_the_laws_of_proposers_hold() -> None:
    for dtype in (torch.float32, torch.float64):
        metric = KnownHessian(positive(0, 1.0, 6))
        checks.assert_proposer(lmm.LimitedMemory(metric=metric), normal(3, 6, seed=1).to(dtype))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.ones(2, 3), "square matrix, got shape"),
        (torch.full((2, 2), torch.nan), "NaN or infinite"),
        (-torch.eye(2), "a positive eigenvalue"),
    ],
)
def test_what_is_no_hessian_is_refused(matrix: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KnownHessian(matrix)


def test_misuse_is_refused() -> None:
    with pytest.raises(TypeError, match="metric must be a Metric, got Tensor"):
        lmm.LimitedMemory(metric=torch.eye(3))  # type: ignore[arg-type]
    proposer = lmm.LimitedMemory(metric=KnownHessian(torch.eye(3, dtype=DTYPE)))
    with pytest.raises(ValueError, match=r"one of 3 unknowns, got iterates of shape \(5,\)"):
        lmm.minimize(valley, normal(2, 5, seed=0), proposer=proposer)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_spectrum_of_a_blur_solves_it_at_once(seed: int) -> None:
    """A quadratic that is diagonal in cosines, of two dimensions."""
    basis = cosines(4), cosines(3)
    spectrum = normal(4, 3, seed=seed).exp()
    target = normal(2, 4, 3, seed=seed + 1)

    def fun(x: Tensor) -> Tensor:
        return (spectrum * transformed(x - target, basis).square()).sum((1, 2)) / 2

    proposer = lmm.LimitedMemory(metric=KnownSpectrum(spectrum))
    x0 = target + normal(2, 4, 3, seed=seed + 2)
    state, info = (opt := lmm.ProjectedMMOptimizer(fun, proposer=proposer)).step(opt.init(x0))
    assert bool(info.accepted.all())
    scale = float(spectrum.max() / spectrum.min()) * float(target.abs().amax().clamp(min=1.0))
    assert bool(((state.x - target).abs() <= 64 * 12 * torch.finfo(DTYPE).eps * scale).all())


def test_the_laws_of_proposers_hold_with_a_spectrum() -> None:
    for dtype in (torch.float32, torch.float64):
        metric = KnownSpectrum(normal(2, 3, seed=0).exp())
        checks.assert_proposer(lmm.LimitedMemory(metric=metric), normal(3, 2, 3, seed=1).to(dtype))


@pytest.mark.parametrize(
    ("spectrum", "message"),
    [
        (torch.ones(()), r"shape of one problem, got shape \(\)"),
        (torch.tensor([1.0, torch.inf]), "NaN or infinite"),
        (-torch.ones(3, 2), "a positive entry"),
        (torch.ones(1, 4097), r"sides of at most 4096, got shape \(1, 4097\)"),
    ],
)
def test_what_is_no_spectrum_is_refused(spectrum: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KnownSpectrum(spectrum)


def test_a_spectrum_of_another_shape_is_refused() -> None:
    proposer = lmm.LimitedMemory(metric=KnownSpectrum(torch.ones(5, 1, dtype=DTYPE)))
    with pytest.raises(ValueError, match=r"shape \(5, 1\), got iterates of shape \(5,\)"):
        lmm.minimize(valley, normal(2, 5, seed=0), proposer=proposer)
