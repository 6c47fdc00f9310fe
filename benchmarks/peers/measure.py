"""Run solvers on problems and keep what the recorder saw."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from .recorder import Budget, Finished, Recorder
from .references import least_value
from .solvers import Solver
from .suite import SEED, Case

Problems = list[dict[str, Any]]


def measured(solver: Solver, case: Case, budget: Budget) -> Problems:
    """One run; the case needs its optimum, and has one problem unless the solver is batched."""
    initial = case.objective(case.x0).detach().numpy()
    recorder = Recorder(initial, case.optimum.numpy(), budget)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(SEED)  # of Lanczos's start vectors
            solver.run(case, recorder)
    except Finished:
        pass
    except Exception as error:  # a solver may fail in any way, and the others go on
        recorder.stop = f"raised {type(error).__name__}"
    return recorder.problems()


def with_optimum(case: Case, reference: Callable[[Callable[[], float]], float]) -> Case:
    """The case with its optimum, published or measured by long runs."""
    if case.optimum is not None:
        return case
    least = reference(lambda: least_value(case))
    return replace(case, optimum=case.x0.new_tensor([least]))


def warm_up(solver: Solver, case: Case) -> None:
    """Run briefly, unmeasured: first calls load code."""
    measured(solver, case, Budget(0.2, 20))
