"""What the benchmark reports of its solvers is what they did."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import qmm
import torch
from torch import Tensor

import learnmm as lmm
from benchmarks.peers.measure import with_optimum
from benchmarks.peers.recorder import Budget, Finished, Recorder
from benchmarks.peers.solvers import BASELINE, SOLVERS, Solver
from benchmarks.peers.suite import Case, singles

BUDGET = Budget(seconds=60.0, evaluations=300)
CASES = ("mgh/beale", "signal-deconvolution")
QMM = "qmm mmmg"
COMPILED = "learnmm minimize, compiled"
SECOND_ORDER = ("torchmin newton-cg", "torchmin trust-ncg", "learnmm ProjectedMM, hessian")


class Watched(Recorder):
    """A recorder that knows when nothing is charged, and keeps the iterates' values."""

    resting = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.resting += 1
        try:
            with super().paused():
                yield
        finally:
            self.resting -= 1


def watch(case: Case, budget: Budget = BUDGET) -> Watched:
    optimum = torch.zeros(case.batch) if case.optimum is None else case.optimum
    return Watched(case.objective(case.x0).detach().numpy(), optimum.numpy(), budget)


def run(solver: Solver, case: Case, recorder: Recorder) -> str:
    with suppress(Finished):
        solver.run(case, recorder)
    return recorder.stop


def counting(inner: Callable[..., Any], counts: Callable[..., bool]) -> tuple[Any, list[int]]:
    calls = [0]

    def function(*args: Any, **kwargs: Any) -> Any:
        calls[0] += counts(*args, **kwargs)
        return inner(*args, **kwargs)

    return function, calls


@pytest.mark.parametrize(
    ("solver", "name"),
    [
        pytest.param(solver, name, id=f"{solver.name} on {name}")
        for name in CASES
        for solver in SOLVERS
        if solver.name not in (QMM, COMPILED)  # they evaluate elsewhere: the tests below
    ],
)
def test_evaluations_are_those_of_the_objective(
    solver: Solver, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted once more from inside, by objectives and derivatives that know of no recorder."""
    case = singles()[name]()
    recorder = watch(case)
    charged = lambda *_: not recorder.resting  # noqa: E731
    if isinstance(case.objective, lmm.Objective):
        kind = type(case.objective)  # of a sum, whose parts are of other kinds
        name_of = "evaluate" if solver.batched else "__call__"
        function, calls = counting(getattr(kind, name_of), charged)
        monkeypatch.setattr(kind, name_of, function)
    else:
        function, calls = counting(case.objective, charged)
        case = replace(case, objective=function)
    # Differentiating a gradient takes a vector, differentiating a loss takes none.
    grad, products = counting(torch.autograd.grad, lambda *args, **_: len(args) > 2)
    monkeypatch.setattr(torch.autograd, "grad", grad)
    over = run(solver, case, recorder) == "evaluations"
    assert recorder.gradients > 10
    if solver.batched:
        # Products differentiate forward over reverse, in one call of the objective each.
        assert calls[0] + over == recorder.gradients + recorder.products
        assert (recorder.products > 0) == (name == "mgh/beale")
    else:
        # What would have exceeded the budget was counted, and not made.
        assert recorder.gradients - over <= calls[0] <= recorder.gradients
        assert recorder.products - over <= products[0] <= recorder.products
        assert (recorder.products > 0) == (solver.name in SECOND_ORDER)


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_run_is_the_run(name: str) -> None:
    case = with_optimum(singles()[name](), lambda least: least())
    by_name = {solver.name: solver for solver in SOLVERS}
    recorders = [watch(case), watch(case)]
    for recorder, solver in zip(recorders, ("learnmm minimize", COMPILED), strict=True):
        run(by_name[solver], case, recorder)
    plain, compiled = recorders
    assert plain.reached.all()
    assert (plain.evaluations == compiled.evaluations).all()
    assert (plain.twice == compiled.twice).all()


def test_gradients_of_qmm_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    case = singles()["signal-deconvolution"]()
    gradient, calls = counting(qmm.Objective.gradient, lambda *_: True)
    monkeypatch.setattr(qmm.Objective, "gradient", lambda *args: gradient(*args))
    recorder = watch(case)
    solver = next(s for s in SOLVERS if s.name == QMM)
    assert run(solver, case, recorder) == "evaluations"
    # Two terms each, but the last, which was broken off in its first; one was charged on departure.
    assert calls[0] == 2 * (recorder.gradients - 2) + 1


@pytest.mark.parametrize("name", ["mgh/wood", "mgh/gulf", "quadratic"])
def test_lbfgs_by_the_iteration_takes_the_steps_of_one_long_call(name: str) -> None:
    case = singles()[name]()
    seen: list[float] = []

    class Kept(Watched):
        def iterate(self, values: Any) -> None:
            seen.append(values)

    iterations = 25
    x = torch.nn.Parameter(case.x0[0].clone())
    optimizer = torch.optim.LBFGS(
        [x], max_iter=iterations, max_eval=10**6, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = case.fun(x)
        value.backward()
        return value

    optimizer.step(closure)
    evaluations = optimizer.state[x]["func_evals"]
    budget = Budget(60.0, evaluations)
    recorder = Kept(case.objective(case.x0).detach().numpy(), np.zeros(1), budget)
    assert run(next(s for s in SOLVERS if s.name == BASELINE), case, recorder) == "evaluations"
    assert len(seen) == iterations
    assert seen[-1] == case.fun(x).item()
    assert recorder.gradients == evaluations + 1


@pytest.mark.parametrize("name", list(singles()))
def test_products_of_the_suite_are_forward_over_reverse(name: str) -> None:
    """The other route would call the objective once for many products, and count too few."""
    case = singles()[name]()
    product = lmm.hessian.hessian_product(case.objective, case.x0, route="forward")
    v = torch.ones_like(case.x0)
    expected = torch.autograd.functional.hvp(lambda x: case.objective(x).sum(), case.x0, v)[1]
    torch.testing.assert_close(product(v), expected)


def test_a_rise_is_seen_and_rounding_is_not() -> None:
    recorder = Recorder(np.array([1.0, 1.0, 1.0]), np.zeros(3), BUDGET)
    recorder.iterate([0.5, 0.5, 0.5])
    recorder.iterate([0.5 * (1 + 1e-15), 0.5001, np.nan])
    assert recorder.monotone.tolist() == [True, False, False]
    recorder.iterate([0.4, 0.4, 0.4])
    assert recorder.monotone.tolist() == [True, False, False]


def test_hits_are_the_first_iterates_that_come_close() -> None:
    recorder = Recorder(np.array([11.0, 11.0]), np.array([1.0, 1.0]), BUDGET)
    for values in ([2.0, 1.0], [1.001, 5.0], [1.0 + 2e-8, 1.0]):
        recorder.evaluated()
        recorder.multiplied()
        recorder.iterate(values)
    first, second = recorder.problems()
    assert [hit and hit[1:] for hit in first["hits"]] == [[2, 2], [3, 3], None]
    assert [hit and hit[1:] for hit in second["hits"]] == [[1, 1]] * 3
    assert first["stop"] == "ended"
    assert first["left"] == pytest.approx(2e-9)
    assert (second["stop"], second["monotone"]) == ("solved", False)
    with pytest.raises(Finished, match="solved"):
        recorder.iterate([1.0, 9.0])


@pytest.mark.parametrize("spend", ["evaluated", "multiplied"])
def test_budgets_end_runs(spend: str) -> None:
    recorder = Recorder(np.ones(1), np.zeros(1), Budget(60.0, 10))
    for _ in range(10 if spend == "evaluated" else 5):
        getattr(recorder, spend)()
    with pytest.raises(Finished, match="evaluations"):
        getattr(recorder, spend)()
    hurried = Recorder(np.ones(1), np.zeros(1), Budget(-1.0, 10))
    with pytest.raises(Finished, match="seconds"):
        getattr(hurried, spend)()


def test_what_is_paused_is_not_charged() -> None:
    recorder = Recorder(np.ones(1), np.zeros(1), BUDGET)
    with recorder.paused():
        for _ in itertools.repeat(None, 10**6):
            pass
    assert recorder.elapsed < recorder._paused
