"""Misuse of starts, bounds, proposers and settings raises before the first iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Curvatures, Returning

X = torch.ones(2, 3)
Y = torch.ones(2, 4)
A = torch.ones(4, 3)


def squares(x: Tensor) -> Tensor:
    return (x * x).sum(1)


def minimize(fun: Any = squares, x0: Any = X, **parts: Any) -> lmm.Result:
    return lmm.minimize(fun, x0, **parts)


# --- the start -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.complex64, torch.float16, torch.bfloat16]
)
def test_the_start_has_a_working_dtype(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"x0 must be float32 or float64, got {dtype}"):
        lmm.ProjectedMMOptimizer(squares).minimize(X.to(dtype))


@pytest.mark.parametrize("x0", [[1.0, 2.0], 3.0, None])
def test_the_start_is_a_tensor(x0: Any) -> None:
    with pytest.raises(TypeError, match=f"x0 must be a torch.Tensor, got {type(x0).__name__}"):
        lmm.ProjectedMMOptimizer(squares).minimize(x0)


def test_the_start_is_dense() -> None:
    with pytest.raises(TypeError, match=r"x0 must be a dense tensor, got torch\.sparse_coo"):
        minimize(x0=X.to_sparse())


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_the_start_is_not_empty(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"x0 is empty: shape \({shape[0]}, {shape[1]}\)"):
        minimize(x0=torch.zeros(shape))


@pytest.mark.parametrize("entry", [torch.nan, torch.inf, -torch.inf])
def test_the_start_is_finite(entry: float) -> None:
    with pytest.raises(ValueError, match="x0 has NaN or infinite entries"):
        minimize(x0=X.masked_fill(torch.eye(2, 3).bool(), entry))


# --- atoms and matrices ----------------------------------------------------------------------


@pytest.mark.parametrize("build", [lmm.CosineDistance, lmm.Quadratic, lmm.HalfQuadratic])
@pytest.mark.parametrize(
    ("matrix", "x", "message"),
    [
        (A, torch.ones(2, 5), r"matrix of shape \(4, 3\) acts on iterates \(B, 3, ...\).*\(2, 5\)"),
        (A, torch.ones(3), r"matrix of shape \(4, 3\) acts on iterates \(B, 3, ...\).*\(3,\)"),
        (A, X.double(), "x has dtype torch.float64, but the matrix has torch.float32"),
        (A.double(), X.double(), r"float64.*targets.*float32|targets.*float32.*float64"),
        (torch.ones(5, 3), X, r"\(2, 5\).*targets.*\(2, 4\)|targets.*\(2, 4\).*\(2, 5\)"),
        (A, torch.ones(3, 3), r"\(3, 4\).*targets.*\(2, 4\)|targets.*\(2, 4\).*\(3, 4\)"),
    ],
)
def test_matrix_target_and_iterate_fit(
    build: Callable[[Tensor], lmm.Atom], matrix: Tensor, x: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        minimize(build(Y) @ matrix, x)


@pytest.mark.parametrize("build", [lmm.CosineDistance, lmm.Quadratic])
def test_targets_are_on_the_device_of_the_iterate(build: Callable[[Tensor], lmm.Atom]) -> None:
    # "meta" stands in for an accelerator; moved there after the checks of the constructor.
    atom: Any = build(X)
    name = "y" if hasattr(atom, "y") else "target"
    setattr(atom, name, getattr(atom, name).to("meta"))
    with pytest.raises(ValueError, match=r"(meta.*cpu|cpu.*meta)"):
        minimize(atom)


def test_the_matrix_is_on_the_device_of_the_iterate() -> None:
    linear = lmm.linear.MatrixMap(A)
    linear.matrix = linear.matrix.to("meta")
    with pytest.raises(ValueError, match="x is on cpu, but the matrix is on meta"):
        minimize(lmm.Quadratic(Y) @ linear)


def test_the_cosine_is_undefined_where_the_image_vanishes() -> None:
    x0 = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0]])
    with pytest.raises(ValueError, match=r"undefined at zero.*\(A x\) vanishes for problems \[1\]"):
        minimize(lmm.CosineDistance(Y) @ A, x0)


def test_weights_are_one_per_problem() -> None:
    with pytest.raises(ValueError, match="3 weights for a batch of 2 problems"):
        minimize(torch.ones(3) * lmm.Quadratic(X))


# --- majorants -------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, -1.0, torch.nan, torch.inf])
def test_the_curvature_is_positive_and_finite(level: float) -> None:
    majorant = Curvatures(lambda x: torch.tensor([1.0, level]))
    with pytest.raises(ValueError, match=r"not finite and positive at x0 for problems \[1\]"):
        minimize(majorant=majorant)


@pytest.mark.parametrize(
    "answer", [2.0, torch.ones(2), lmm.curvature.ScalarCurvature(torch.ones(2)), None]
)
def test_a_majorant_returns_a_bound(answer: Any) -> None:
    name = type(answer).__name__
    with pytest.raises(TypeError, match=f"a majorant must return a Bound, got {name}"):
        minimize(majorant=lambda x, aux: answer)


@pytest.mark.parametrize("majorant", [2.0, "lanczos"])
def test_a_majorant_is_callable(majorant: Any) -> None:
    with pytest.raises(
        TypeError, match=f"majorant must be callable, got {type(majorant).__name__}"
    ):
        minimize(majorant=majorant)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
def test_curvatures_are_one_per_problem(shape: tuple[int, ...]) -> None:
    # What is no `(B,)` at all is refused where the curvature is made.
    batch = "2" if len(shape) == 1 else "B"
    came = ", ".join(map(str, shape))
    message = rf"one curvature per problem, shape \({batch},\), got \({came},?\)"
    with pytest.raises(ValueError, match=message):
        minimize(majorant=Curvatures(lambda x: torch.ones(shape)))


def test_diagonals_have_the_shape_of_the_iterate() -> None:
    diagonal = lmm.curvature.DiagonalCurvature(torch.ones(2, 3))
    bound = lmm.Bound(lmm.Kind.GLOBAL, diagonal)
    with pytest.raises(ValueError, match=r"act on iterates of shape \(2, 1\), but gives \(2, 3\)"):
        minimize(x0=X[:, :1], majorant=lambda x, aux: bound)


def test_radii_are_one_per_problem() -> None:
    curvature = lmm.curvature.ScalarCurvature(torch.ones(2))
    bound = lmm.Bound(lmm.Kind.REGION, curvature, radius=torch.ones(3))
    with pytest.raises(ValueError, match=r"one radius per problem, shape \(2,\), got \(3,\)"):
        minimize(majorant=lambda x, aux: bound)


def test_bounds_are_where_the_iterate_is() -> None:
    here, there = (lmm.curvature.ScalarCurvature(torch.ones(2, device=d)) for d in ("cpu", "meta"))
    radius = torch.ones(2, device="meta")
    for bound, name in (
        (lmm.Bound(lmm.Kind.GLOBAL, there), "curvature"),
        (lmm.Bound(lmm.Kind.REGION, here, radius=radius), "radius"),
    ):
        with pytest.raises(ValueError, match=rf"its {name} on the device of x0, cpu, got meta"):
            minimize(majorant=lambda x, aux, bound=bound: bound)


# --- proposers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proposer", [torch.nn.Linear(3, 3), lambda point, memory: None, 0.5, lmm.LimitedMemory]
)
def test_a_proposer_is_one(proposer: Any) -> None:
    message = f"proposer must be a Proposer or None, got {type(proposer).__name__}"
    for build in (minimize, lambda proposer: lmm.UnrolledMM(lmm.Quadratic, proposer)):
        with pytest.raises(TypeError, match=message):
            build(proposer=proposer)


BASIS = torch.eye(3)[:, :2]

WRONG: list[tuple[Callable[[lmm.Point], Any], type[Exception], str]] = [
    (lambda p: lmm.Multipliers(p.x[:1]), ValueError, r"iterate's shape \(2, 3\), got \(1, 3\)"),
    (lambda p: lmm.Multipliers(p.x.sum(1)), ValueError, r"iterate's shape \(2, 3\), got \(2,\)"),
    (lambda p: lmm.Step(p.x[:, :1]), ValueError, r"iterate's shape \(2, 3\), got \(2, 1\)"),
    (
        lambda p: lmm.Multipliers(p.x[:, :2], BASIS),
        ValueError,
        r"its basis' shape \(2, 3\), got \(2, 2\)",
    ),
    (
        lambda p: lmm.Multipliers(p.x, BASIS[:2]),
        ValueError,
        r"a basis of shape \(3, r\) .*, got \(2, 2\)",
    ),
    (
        lambda p: lmm.Multipliers(p.x, BASIS[:, 0]),
        ValueError,
        r"a basis of shape \(3, r\) .*, got \(3,\)",
    ),
    (lambda p: lmm.Multipliers(p.x, "Fourier"), ValueError, "a basis of shape .* got str"),
    (lambda p: p.x, TypeError, "Multipliers or a Step, got Tensor"),
    (lambda p: (p.x, None), TypeError, "Multipliers or a Step, got tuple"),
    (lambda p: None, TypeError, "Multipliers or a Step, got NoneType"),
    (lambda p: lmm.Multipliers(1.0), TypeError, "floating-point tensor, got float"),
    (lambda p: lmm.Step(p.x.long()), TypeError, "floating-point tensor, got torch.int64"),
    (lambda p: lmm.Step(p.x * 1j), TypeError, "floating-point tensor, got torch.complex64"),
]


@pytest.mark.parametrize(("answer", "error", "message"), WRONG)
def test_a_wrong_proposal_raises_before_the_first_step(
    answer: Callable[[lmm.Point], Any], error: type[Exception], message: str
) -> None:
    message = f"Returning must propose .*{message}"
    proposer = Returning(answer)
    with pytest.raises(error, match=message):
        lmm.ProjectedMMOptimizer(squares, proposer=proposer).init(X)
    with pytest.raises(error, match=message):
        minimize(proposer=proposer)
    with pytest.raises(error, match=message):
        lmm.UnrolledMM(lmm.Quadratic, proposer)(X, 2 * X)


def test_a_proposal_that_goes_wrong_later_raises_too() -> None:
    """Where nothing was to be seen at the start."""
    count = iter(range(9))
    proposer = Returning(lambda p: lmm.Step(0.1 * p.gradient[: 2 - next(count)]))
    optimizer = lmm.ProjectedMMOptimizer(squares, proposer=proposer)
    state, info = optimizer.step(optimizer.init(X))
    assert info.accepted.all()
    with pytest.raises(ValueError, match=r"iterate's shape \(2, 3\), got \(1, 3\)"):
        optimizer.step(state)


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (0.0, 1.0),
        (-1.0, 1.0),
        (1.1, 1.5),
        (0.5, 0.9),
        (0.5, 2.0),
        (torch.nan, 1.0),
        (0.5, torch.nan),
    ],
)
def test_projection_needs_an_interval_of_descent(lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match=rf"0 < lower <= 1 <= upper.*got \[{lower}, {upper}\]"):
        lmm.Projection(lower, upper)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sufficient": 0.0}, r"sufficient must be in \(0, 1e-4\], got 0.0"),
        ({"sufficient": 0.5}, r"sufficient must be in \(0, 1e-4\], got 0.5"),
        ({"sufficient": torch.nan}, "sufficient must be in"),
        ({"growth": 1.0}, "growth must be above 1 and finite, got 1.0"),
        ({"growth": torch.inf}, "growth must be above 1 and finite, got inf"),
        ({"trials": 0}, "trials must be an integer of at least 1, got 0"),
        ({"trials": 2.5}, r"trials must be an integer of at least 1, got 2\.5"),
        ({"growth": 1e3, "trials": 20}, r"growth \*\* trials must not exceed 1e30"),
        ({"noise": -1.0}, r"noise must be non-negative and finite, got -1\.0"),
    ],
)
def test_the_safeguard_needs_descent_and_an_end(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lmm.Safeguard(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"shrink": 0.0},
        {"shrink": 1.1},
        {"margin": 0.0},
        {"least": 0.0},
        {"least": 2.0},
        {"most": 0.5},
    ],
)
def test_relaxation_needs_factors_that_adapt(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Relaxation expects 0 < shrink <= 1"):
        lmm.Relaxation(**settings)


@pytest.mark.parametrize("name", ["projection", "safeguard", "relaxation"])
@pytest.mark.parametrize("setting", [True, False, 0.5])
def test_parts_of_a_solve_are_switched_off_by_none_alone(name: str, setting: Any) -> None:
    message = rf"{name} must be a {name.capitalize()} or None, got {setting}"
    with pytest.raises(TypeError, match=message):
        lmm.SolveSettings(**{name: setting})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1, got 0"),
        ({"max_iter": 2.5}, TypeError, "max_iter must be an integer, got 2.5"),
        ({"max_iter": "3"}, TypeError, "max_iter must be an integer, got '3'"),
        ({"max_iter": True}, TypeError, "max_iter must be an integer, got True"),
        ({"gtol": -1.0}, ValueError, "gtol must be non-negative, got -1.0"),
        ({"gtol": torch.nan}, ValueError, "gtol must be non-negative, got nan"),
        ({"rtol": -1.0}, ValueError, "rtol must be non-negative, got -1.0"),
        ({"atol": -1.0}, ValueError, "atol must be non-negative, got -1.0"),
        ({"atol": torch.nan}, ValueError, "atol must be non-negative, got nan"),
        ({"rtol": None}, TypeError, "rtol must be a number, got None"),
        ({"gtol": "small"}, TypeError, "gtol must be a number, got 'small'"),
        ({"check_deterministic": 1}, TypeError, "check_deterministic must be True or False, got 1"),
        ({"learning_rate": 0.1}, TypeError, "unexpected keyword argument 'learning_rate'"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_they_are_made(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lmm.SolveSettings(**settings)


@pytest.mark.parametrize("settings", [{"gtol": 0.1}, None, 3, lmm.Safeguard(), lmm.SolveSettings])
def test_settings_are_settings(settings: Any) -> None:
    message = f"settings must be SolveSettings, got {type(settings).__name__}"
    for build in (
        minimize,
        lambda settings: lmm.ProjectedMMOptimizer(squares, settings=settings),
        lambda settings: lmm.UnrolledMM(lmm.Quadratic, settings=settings),
        lambda settings: lmm.optim.ProjectedMM([torch.nn.Parameter(X)], settings=settings),
    ):
        with pytest.raises(TypeError, match=message):
            build(settings=settings)


def test_progress_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    with pytest.raises(
        ImportError, match=r"progress=True needs rich: pip install 'learnmm\[progress\]'"
    ):
        minimize(progress=True)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_weights_are_positive_and_finite(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be positive and finite"):
        weight * lmm.Quadratic(torch.zeros(1, 2))
