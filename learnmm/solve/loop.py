"""The loop: steps until every problem has stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from learnmm.nested import mapped
from learnmm.objective import CallableObjective
from learnmm.progress import Progress
from learnmm.shards import alone
from learnmm.solve.compaction import Packing
from learnmm.solve.raising import reported
from learnmm.solve.record import StepInfo
from learnmm.solve.shrinking import run_in_graphs
from learnmm.solve.state import State
from learnmm.solve.status import Status

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer

Callback = Callable[[State, StepInfo], bool | None]


class Loop(NamedTuple):
    """How a loop is watched and stepped, see :meth:`ProjectedMMOptimizer.minimize`."""

    callback: Callback | None
    progress: bool
    history: bool
    compiled: bool | Literal["loop"]

    def checked(self) -> Loop:
        """Return it, if it can be watched as it is compiled.

        Raises
        ------
        TypeError, ValueError
            With what came.
        """
        if self.compiled != "loop" and not isinstance(self.compiled, bool):
            raise TypeError(f"compiled must be True, False or 'loop', got {self.compiled!r}")
        watched = self.history or self.progress or self.callback is not None
        if self.compiled == "loop" and watched:
            raise ValueError(
                "compiled='loop' runs from start to end without a step that callback, history or "
                "progress could see: leave them out, or choose compiled=True"
            )
        return self


class Run(NamedTuple):
    """What a loop leaves.

    Attributes
    ----------
    state : State
        Of the whole batch, every problem stopped.
    history : StepInfo or None
        Every step's record, ``(iterations, B)`` each.
    raised : Mapping
        See :class:`~learnmm.Result`.
    compile_seconds : float
        Likewise.
    """

    state: State
    history: StepInfo | None
    raised: Mapping[int, str]
    compile_seconds: float = 0.0


def run(solver: ProjectedMMOptimizer, state: State, how: Loop) -> Run:
    """Step from a state until every problem has stopped.

    Once half of those that are stepped have finished, they leave the batch where objective,
    majorant and proposer can be restricted to the others. A function is asked about those alone:
    where it says of them what it said before, and in the end of the whole batch what the run says,
    it is the same function. Otherwise the run is made again with everybody. Compiled steps, whose
    graphs are made for a size, keep everybody. "loop" is one graph of the whole run, or a few; the
    run is made again step by step where a candidate raises, or the function says something else.
    """
    # A callback must not be told what may turn out to be another function, and processes that share
    # unknowns must not part where one of them raises.
    trying = how.callback is None and isinstance(solver.objective, CallableObjective) and alone()
    seconds = 0.0
    if how.compiled == "loop":
        with torch.no_grad():
            ended, seconds = run_in_graphs(solver, state, trying=trying)
        if ended is not None:
            return Run(ended, None, {}, seconds)
        how = how._replace(compiled=False)
    packing = Packing(solver, state, trying=trying)
    found = _run(packing, how, packed=not how.compiled)
    if not packing.confirmed():
        found = _run(Packing(solver, state, trying=False), how, packed=False)
    return found._replace(compile_seconds=seconds)


def _run(packing: Packing, how: Loop, *, packed: bool) -> Run:
    settings, steps = packing.solver.settings, []
    with (
        torch.no_grad(),
        reported() as raised,
        Progress(settings.steps, enabled=how.progress) as bar,
    ):
        for _ in range(settings.steps):
            if not (packing.pack(raised) if packed else bool(packing.state.running.any())):
                break
            solver = packing.solver
            step = solver.compiled_or_not if how.compiled else solver.step
            packing.state, info = step(packing.state)
            if how.history:
                steps.append(packing.widened(info))
            if how.progress:
                whole = packing.whole()
                bar.update(whole.value, whole.status)
            if how.callback is not None:
                seen = mapped(Tensor.clone, (packing.whole(), packing.widened(info)))
                if how.callback(*seen):
                    packing.state = packing.state.stopped(Status.STOPPED)
                    break
    packing.state = packing.state.stopped(Status.MAX_ITER)
    history = StepInfo(*map(torch.stack, zip(*steps, strict=True))) if steps else None
    return Run(packing.whole(), history, packing.raised(raised))
