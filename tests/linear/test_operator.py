"""Operators known by products: dense references, adjoints, and bounds that say their kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from learnmm import checks
from learnmm.linear.lanczos import top_bound
from maps import DTYPE, by_products, matrix_of, normal, with_absolute

# --- bounds ------------------------------------------------------------------------------------


def test_kinds_follow_from_what_is_known() -> None:
    a, x = normal(4, 6), normal(2, 6, seed=1)
    target = normal(2, 4, seed=2)
    expected = {
        lmm.Kind.GLOBAL: [with_absolute(a), by_products(a, norm=100.0)],
        lmm.Kind.PROBABLE: [by_products(a, failure_probability=1e-4)],
    }
    for kind, operators in expected.items():
        for operator in operators:
            bound = (lmm.Quadratic(target) @ operator).bound(x)
            assert bound.kind is kind
            assert bound.failure_probability == (1e-4 if kind is lmm.Kind.PROBABLE else 0)
            assert (bound.uncertain is None) == (kind is lmm.Kind.GLOBAL)
    atom = lmm.CosineDistance(target, "pointwise") @ by_products(a)
    assert atom.bound(x).kind is lmm.Kind.PROBABLE
    atom = lmm.CosineDistance(target, "pointwise") @ with_absolute(a)
    assert atom.bound(x).kind is lmm.Kind.POINTWISE


@given(st.integers(0, 10**6), st.floats(0.0, 6.0))
def test_lanczos_bounds_the_top_eigenvalue(seed: int, decay: float) -> None:
    """Fewer steps than unknowns: a start vector away from the top makes Ritz values too small."""
    spectrum = torch.linspace(0, 1, 400, dtype=DTYPE) ** decay
    start = normal(1, 400, seed=seed)
    products = 0

    def product(v: Tensor) -> Tensor:
        nonlocal products
        products += 1
        return spectrum * v

    found = float(top_bound(product, start, 1e-6))
    assert found >= 1
    assert found <= 4 / 3 + 1e-9
    assert products < 40


def test_lanczos_runs_once_and_from_its_generator() -> None:
    a = normal(60, 80)
    calls = 0

    def apply(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x @ a.mT

    norms = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(3)
        operator = lmm.linear.LinearOperator(
            apply, lambda z: z @ a, (80,), (60,), generator=generator
        )
        norms.append(operator.norm(torch.zeros(2, 80, dtype=DTYPE)))
        before = calls
        assert operator.norm(torch.zeros(5, 80, dtype=DTYPE)) == norms[-1]
        assert calls == before
    assert norms[0] == norms[1]


@pytest.mark.parametrize("absolute", [False, True])
def test_every_precision_has_a_norm_of_its_own(absolute: bool) -> None:
    """A norm found in float64 has no margin for the rounding of float32."""
    row = torch.full((1, 3), 1 + 0.75 * 2.0**-23, dtype=DTYPE)  # rounds up in float32

    def apply(x: Tensor) -> Tensor:
        return x @ row.to(x.dtype).mT

    def adjoint(z: Tensor) -> Tensor:
        return z @ row.to(z.dtype)

    given: dict[str, Any] = {"absolute": (apply, adjoint)} if absolute else {}
    operator = lmm.linear.LinearOperator(apply, adjoint, (3,), (1,), **given)
    for dtype in (torch.float64, torch.float32):
        x = torch.zeros(1, 3, dtype=dtype)
        assert operator.norm(x) >= float(row.to(dtype).double().norm())
        assert operator.norm(x) == operator.norm(x)


# --- solving -----------------------------------------------------------------------------------


@pytest.mark.parametrize("proposer", [None, lmm.LimitedMemory()])
def test_deblurring_is_that_of_the_dense_map(proposer: lmm.Proposer | None) -> None:
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]], dtype=DTYPE)
    blur = lmm.linear.convolution(kernel, (6, 5), "zero")
    y = normal(2, 6, 5)
    free = lmm.minimize(
        lmm.Quadratic(y) @ blur,
        y,
        proposer=proposer,
        settings=lmm.SolveSettings(gtol=1e-10, max_iter=500),
    )
    expected = torch.linalg.solve(matrix_of(blur, y), y.flatten(1).mT).mT.reshape(y.shape)
    torch.testing.assert_close(free.x, expected, rtol=1e-5, atol=1e-6)
    assert free.certificate.kind is lmm.Kind.GLOBAL
    assert free.certificate.monotone.all()
    if proposer is None:
        assert not free.certificate.violations.any()


@pytest.mark.parametrize("name", ["blur", "fourier", "products"])
def test_a_step_compiles_in_one_graph(name: str) -> None:
    operator = {
        "blur": lmm.linear.convolution(torch.ones(3, dtype=DTYPE) / 3, (6,)),
        "fourier": lmm.linear.subsampled_fourier(
            torch.tensor([True, False, True, True, False, True])
        ),
        "products": by_products(normal(4, 6)),
    }[name]
    x0 = normal(2, 6)
    atom = lmm.HalfQuadratic(normal(2, *operator.image, seed=1)) @ operator
    optimizer = lmm.ProjectedMMOptimizer(atom)
    state = optimizer.init(x0)
    compiled = torch.compile(optimizer.step, fullgraph=True, backend="eager")
    with torch.no_grad():
        for _ in range(3):
            expected, _ = optimizer.step(state)
            state, _ = compiled(state)
            torch.testing.assert_close(state.x, expected.x)


# --- misuse ------------------------------------------------------------------------------------


def shift(x: Tensor) -> Tensor:
    return x.roll(1, 1)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"apply": 3.0}, TypeError, "apply must be callable, got float"),
        ({"adjoint": None}, TypeError, "adjoint must be callable, got NoneType"),
        ({"absolute": shift}, TypeError, "absolute must be two callables.*got function"),
        ({"domain": (0,)}, ValueError, r"domain must be a shape of positive integers, got \(0,\)"),
        ({"image": ()}, ValueError, r"image must be a shape of positive integers, got \(\)"),
        ({"norm": -1.0}, ValueError, "norm must be non-negative and finite, got -1"),
        ({"norm": torch.inf}, ValueError, "norm must be non-negative and finite, got inf"),
        ({"failure_probability": 0.0}, ValueError, r"failure_probability must be in \(0, 1\)"),
    ],
)
def test_arguments_that_cannot_work_are_refused(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"apply": shift, "adjoint": shift, "domain": (5,), "image": (5,)}
    with pytest.raises(error, match=message):
        lmm.linear.LinearOperator(**{**arguments, **settings})


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (
            lmm.linear.LinearOperator(shift, shift, (5,), (5,), norm=1.0),
            r"adjoint is not the adjoint of apply: <A x, A x> = .*, but <x, A\^T A x> = ",
        ),
        (
            lmm.linear.LinearOperator(shift, lambda z: z[:, :4], (5,), (5,), norm=1.0),
            r"adjoint must return \(1, 5\), torch.float64 on cpu for one problem, got \(1, 4\)",
        ),
        (
            lmm.linear.LinearOperator(lambda x: x.float(), shift, (5,), (5,), norm=1.0),
            r"apply must return .* got \(1, 5\), torch.float32",
        ),
        (
            lmm.linear.LinearOperator(
                lambda x: x, lambda z: z, (5,), (5,), absolute=(lambda x: x[:, 1:], shift)
            ),
            r"absolute\[0\] must return \(1, 5\).*got \(1, 4\)",
        ),
        (
            lmm.linear.LinearOperator(shift, shift, (4,), (5,)),
            r"acts on iterates \(B, 4\), got x of shape",
        ),
    ],
)
def test_products_that_do_not_fit_are_refused(
    operator: lmm.linear.LinearOperator, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lmm.minimize(lmm.Quadratic(normal(2, 5)) @ operator, normal(2, 5))


def test_a_product_that_fails_says_which_one() -> None:
    blur = lmm.linear.convolution(torch.ones(3) / 3, (5,))
    with pytest.raises(RuntimeError) as caught:
        lmm.minimize(lmm.Quadratic(normal(2, 5)) @ blur, normal(2, 5))
    assert "LinearOperator: apply failed on (1, 5), torch.float64" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "case", ["adjoint", "linear", "offset", "norm", "absolute", "absolute adjoint"]
)
def test_the_check_sees_operators_that_break_the_laws(case: str) -> None:
    a = normal(5, 5)
    size = a.abs()
    correct: dict[str, Any] = {
        "apply": lambda x: x @ a.mT,
        "adjoint": lambda z: z @ a,
        "absolute": (lambda x: x @ size.mT, lambda z: z @ size),
        "norm": float(torch.linalg.matrix_norm(a, 2)),
    }
    broken: dict[str, Any] = {
        "adjoint": {"adjoint": lambda z: z @ (a + 1e-6)},
        "linear": {"apply": lambda x: x.abs() @ a.mT, "adjoint": lambda z: z @ a},
        "offset": {"apply": lambda x: x @ a.mT + 1},
        "norm": {"norm": correct["norm"] / 4},
        "absolute": {"absolute": (correct["apply"], correct["adjoint"])},
        "absolute adjoint": {"absolute": (correct["absolute"][0], correct["adjoint"])},
    }
    x = torch.zeros(1, 5, dtype=DTYPE)
    checks.assert_adjoint(lmm.linear.LinearOperator(domain=(5,), image=(5,), **correct), x)
    operator = lmm.linear.LinearOperator(domain=(5,), image=(5,), **{**correct, **broken[case]})
    with pytest.raises(checks.LawViolation):
        checks.assert_adjoint(operator, x)
