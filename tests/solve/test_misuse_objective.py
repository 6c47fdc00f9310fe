"""Objectives that cannot be minimized are refused before the first iteration, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm

X = torch.ones(2, 3)
WEIGHTS = torch.ones(2, requires_grad=True)


def squares(x: Tensor) -> Tensor:
    return (x * x).sum(1)


def minimize(fun: Any, x0: Any = X, **parts: Any) -> lmm.Result:
    return lmm.minimize(fun, x0, **parts)


@pytest.mark.parametrize(
    ("fun", "got"),
    [
        (lambda x: x, r"\(2, 3\)"),
        (lambda x: x.sum(0), r"\(3,\)"),
        (lambda x: squares(x)[:, None], r"\(2, 1\)"),
        (lambda x: squares(x)[:1], r"\(1,\)"),
    ],
)
def test_the_objective_returns_one_value_per_problem(fun: Any, got: str) -> None:
    with pytest.raises(
        ValueError, match=rf"shape \(\) for one problem, or \(B,\).*got shape {got}"
    ):
        minimize(fun)
    with pytest.raises(ValueError, match=rf"one value per problem, shape \(2,\), got {got}"):
        lmm.ProjectedMMOptimizer(fun).init(X)


def test_functions_of_one_problem_are_for_minimize() -> None:
    with pytest.raises(
        ValueError, match=r"got \(\) for x0 .* `minimize` also takes functions of one"
    ):
        lmm.ProjectedMMOptimizer(torch.sum).init(X)


@pytest.mark.parametrize("fun", [lambda x: 3.0, lambda x: None, lambda x: x.tolist()])
def test_the_objective_returns_a_tensor(fun: Any) -> None:
    name = type(fun(X)).__name__
    with pytest.raises(TypeError, match=rf"must return a torch.Tensor, got {name}"):
        minimize(fun)


@pytest.mark.parametrize(
    ("fun", "got"),
    [
        (lambda x: 3.0, "float"),
        (lambda x: squares(x).long(), "torch.int64"),
        (lambda x: squares(x) * 1j, "torch.complex64"),
    ],
)
def test_the_objective_returns_real_floating_point_values(fun: Any, got: str) -> None:
    with pytest.raises(TypeError, match=f"floating-point torch.Tensor, got {got}"):
        lmm.ProjectedMMOptimizer(fun).init(X)


@pytest.mark.parametrize("objective", [3.0, "squares", None, torch.ones(2)])
def test_the_objective_is_callable(objective: Any) -> None:
    name = type(objective).__name__
    with pytest.raises(TypeError, match=f"objective must be an Objective or callable, got {name}"):
        minimize(objective)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_objective_is_finite_at_the_start(value: float) -> None:
    spoilt = torch.tensor([0.0, value])
    with pytest.raises(
        ValueError, match=r"objective or its gradient is not finite.*problems \[1\]"
    ):
        minimize(lambda x: squares(x) + spoilt)


def test_the_gradient_is_finite_at_the_start() -> None:
    with pytest.raises(
        ValueError, match=r"objective or its gradient is not finite.*problems \[0\]"
    ):
        minimize(lambda x: x.abs().sqrt().sum(1), torch.tensor([[0.0, 1.0], [1.0, 1.0]]))


def test_many_bad_problems_are_not_all_listed() -> None:
    with pytest.raises(ValueError, match=r"problems \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\] \.\.\."):
        minimize(lambda x: squares(x) * torch.nan, torch.ones(30, 2))


def test_the_gradient_of_an_objective_has_the_shape_and_dtype_of_the_iterate() -> None:
    class Wrong(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation(squares(x), x[:, :2].double())

    expected = r"shape \(2, 2\) and dtype torch.float64, expected \(2, 3\) and torch.float32"
    with pytest.raises(ValueError, match=expected):
        minimize(Wrong(), majorant=lmm.majorants.LipschitzMajorant(2.0))


def test_the_objective_does_not_leave_torch() -> None:
    with pytest.raises(TypeError, match=r"torch operations from x0 on, but it calls numpy\(\)"):
        minimize(lambda x: torch.from_numpy(x.numpy()).sum(1))


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: squares(x.detach()),
        lambda x: squares(torch.from_numpy(x.detach().numpy())),
        torch.no_grad()(squares),
        lambda x: torch.zeros(2),
        lambda x: torch.zeros(()),
        lambda x: WEIGHTS * squares(x.detach()),  # has a graph, which leads elsewhere
        lambda x: (WEIGHTS * squares(x.detach())).sum(),
    ],
)
def test_the_objective_is_computed_from_the_iterate(fun: Any) -> None:
    with pytest.raises(ValueError, match=r"no graph back to x0.* detach, no_grad or NumPy"):
        minimize(fun)


def test_a_candidate_without_a_graph_is_refused_and_told() -> None:
    def fun(x: Tensor) -> Tensor:
        return x.new_tensor(0.5) if x.detach().norm() > 2 else ((x - 3) ** 2).sum()

    result = lmm.minimize(fun, torch.zeros(2, dtype=torch.float64))
    assert result.status != lmm.Status.GRADIENT
    assert float(result.x.norm()) <= 2
    assert any("no graph back" in text for text in result.raised.values())


class Answering(lmm.Objective):
    """Squares, whose evaluation is changed on the way out."""

    def __init__(self, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        self.change = change

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        return lmm.Evaluation(*self.change(squares(x), 2 * x))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        # "meta" stands in for an accelerator.
        (lambda f, g: (f.to("meta"), g), ValueError, "values must be .* of x0, cpu, got meta"),
        (lambda f, g: (f, g.to("meta")), ValueError, "gradient must be .* of x0, cpu, got meta"),
        (lambda f, g: (f, g.to_sparse()), RuntimeError, "dense, got torch.sparse_coo; .*=False"),
    ],
)
def test_evaluations_are_dense_and_where_the_iterate_is(
    change: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        minimize(Answering(change), majorant=lmm.majorants.LipschitzMajorant(2.0))


def test_sparse_gradients_are_refused() -> None:
    rows = torch.tensor([0, 1])

    def loss(weight: Tensor) -> Tensor:
        return torch.nn.functional.embedding(rows, weight, sparse=True).square().sum()

    with pytest.raises(RuntimeError, match=r"gradient must be dense; embeddings .* sparse=False"):
        minimize(loss)


def test_other_errors_of_an_objective_come_through() -> None:
    def broken(x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not x.requires_grad:
            raise RuntimeError("out of luck")
        return squares(x)

    with pytest.raises(RuntimeError, match="out of luck"):
        lmm.ProjectedMMOptimizer(lambda x: broken(x.detach())).minimize(X)


# --- objectives that draw at random ------------------------------------------------------------


def noisy(x: Tensor) -> Tensor:
    """Of three problems only the second is noisy."""
    return squares(x) + torch.tensor([0.0, 1.0, 0.0]) * torch.rand(3)


def test_random_objectives_are_found_out() -> None:
    x0 = torch.ones(3, 2)
    message = r"not deterministic: it returned 2\.\d+ and then 2\.\d+ .*\(problem 1\).*dropout"
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=message):
            lmm.ProjectedMMOptimizer(
                noisy,
                proposer=lmm.LimitedMemory(),
                settings=lmm.SolveSettings(check_deterministic=True),
            ).minimize(x0, strict=strict)
    with pytest.raises(RuntimeError, match=r"\(problem 0\)"):
        minimize(
            lambda x: squares(x[None])[0] + torch.rand(()),
            x0[0],
            settings=lmm.SolveSettings(check_deterministic=True),
        )
    minimize(noisy, x0, settings=lmm.SolveSettings(max_iter=2))  # unless asked


def test_rounding_is_not_taken_for_chance() -> None:
    calls = [0]

    def rounded(x: Tensor) -> Tensor:
        calls[0] += 1
        return squares(x) * (1 + (calls[0] % 2) * torch.finfo(x.dtype).eps)

    minimize(rounded, settings=lmm.SolveSettings(max_iter=2, check_deterministic=True))


def test_finding_out_costs_one_evaluation() -> None:
    class Counting(lmm.Objective):
        calls = 0

        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            self.calls += 1
            return lmm.Evaluation(squares(x), 2 * x)

    ends = []
    for check in (False, True):
        objective = Counting()
        majorant = lmm.majorants.LipschitzMajorant(3.0)
        result = minimize(
            objective,
            majorant=majorant,
            settings=lmm.SolveSettings(check_deterministic=check, max_iter=5),
        )
        assert objective.calls == int(result.iterations.max()) + 1 + check
        ends.append(result.x)
    assert torch.equal(*ends)
