"""The entries of this library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from learnmm.atoms import Atom

from ..recorder import Recorder, tapped
from ..suite import Case

UNLIMITED = 10**9


class Counted(lmm.Objective):
    """An objective that tells a recorder of its use.

    The optimizer evaluates through `evaluate`; majorants call the objective itself, once for every
    forward-over-reverse Hessian-vector product that they take (and once more to find out that
    this route exists, which is charged as well).
    """

    def __init__(self, objective: lmm.Objective, recorder: Recorder) -> None:
        self.objective = objective
        self.recorder = recorder

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        """Count an evaluation, whose value and gradient belong to all problems of the batch."""
        self.recorder.evaluated()
        return self.objective.evaluate(x)

    def __call__(self, x: Tensor) -> Tensor:
        """Count a product."""
        self.recorder.multiplied()
        return self.objective(x)

    def check(self, x: Tensor) -> None:
        """Check what is inside."""
        self.objective.check(x)


def counted(case: Case, recorder: Recorder) -> tuple[Counted, dict[str, Any]]:
    """The objective of a case, and as a setting the majorant it has of its own, if any."""
    plain = isinstance(case.objective, lmm.Objective)
    inner = case.objective if plain else lmm.objective.CallableObjective(case.objective)
    majorant = case.majorant or (inner.bound if isinstance(inner, Atom) else None)
    return Counted(inner, recorder), {} if majorant is None else {"majorant": majorant}


def minimize(**parts: Any) -> Callable[[Case, Recorder], None]:
    """`lmm.minimize` with a proposer or a majorant, on the whole batch at once."""

    def run(case: Case, recorder: Recorder) -> None:
        objective, own = counted(case, recorder)

        def note(state: lmm.State, _: lmm.StepInfo) -> None:
            recorder.iterate(state.value.numpy())

        lmm.minimize(
            objective,
            case.x0,
            settings=lmm.SolveSettings(max_iter=UNLIMITED, gtol=0.0),
            callback=note,
            **own | parts,
        )

    return run


def compiled(case: Case, recorder: Recorder) -> None:
    """`lmm.minimize` with ``compiled=True``; compilation is not charged.

    A counter inside of what is compiled would be compiled too. So the start is counted as ever, and
    then a step is one evaluation.
    """
    watched, own = counted(case, recorder)
    starting, stepping = (
        lmm.ProjectedMMOptimizer(
            objective,
            proposer=lmm.proposers.BFGS(),
            settings=lmm.SolveSettings(gtol=0.0, max_iter=UNLIMITED),
            **own,
        )
        for objective in (watched, watched.objective)
    )
    with torch.no_grad():
        with recorder.paused():
            torch.compiler.reset()
            state = stepping.init(case.x0)
            for _ in range(3):
                state, _ = stepping.compiled_step(state)
        state = starting.init(case.x0)
        while bool(state.running.any()):
            recorder.evaluated()
            state, _ = stepping.compiled_step(state)
            recorder.iterate(state.value.numpy())


def projected_mm(**settings: Any) -> Callable[[Case, Recorder], None]:
    """`lmm.optim.ProjectedMM` with settings, as a `torch.optim` optimizer is used."""

    def run(case: Case, recorder: Recorder) -> None:
        x = torch.nn.Parameter(case.x0[0].clone())
        optimizer = lmm.optim.ProjectedMM([x], **settings)
        secant = optimizer.curvature == "secant"  # takes no products to be counted

        def closure() -> Tensor:
            recorder.evaluated()
            return case.fun(x if secant else tapped(x, recorder))

        while True:
            optimizer.step(closure)
            result = optimizer.last_result
            recorder.iterate(float(result.fun))
            if int(result.status) != lmm.Status.RUNNING:
                return

    return run
