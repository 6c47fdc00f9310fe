"""Problems that have finished leave the batch, and come back into their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from learnmm.nested import mapped, tensors_of
from learnmm.objective import CallableObjective, Evaluation
from learnmm.solve.record import StepInfo
from learnmm.solve.safeguard import ROUNDING
from learnmm.solve.state import State
from learnmm.vectors import peak

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer

SHARE = 0.5
"""Of a batch, how much may still run when the rest leaves it."""

AGREEMENT = 0.75
"""Power of ``eps`` up to which evaluations in two batches are the same: a quarter of the digits may
be lost where terms cancel, and the data of other problems change more."""


class Packing:
    """The problems of a batch that are stepped: those that run, and few that have finished.

    Parameters
    ----------
    solver : ProjectedMMOptimizer
        Of the whole batch.
    state : State
        Before the first step.
    trying : bool
        Whether a function that cannot say how it is restricted is tried with fewer problems.

    Attributes
    ----------
    solver, state
        Of the problems that are stepped. Who takes a step puts the next state there.
    rows : Tensor of int or None
        Their numbers in the whole batch, in order; None for all.
    tried : bool
        Whether they are those of a function, so that :meth:`confirmed` has to ask the whole batch.
    """

    def __init__(self, solver: ProjectedMMOptimizer, state: State, *, trying: bool) -> None:
        self.solver = self._all = solver
        self.state = self._whole = state
        self.rows: Tensor | None = None
        self.tried = False
        self._trying = trying
        self._raised: dict[int, str] = {}
        self._limit = SHARE * len(state.value)

    def pack(self, raised: dict[int, str]) -> bool:
        """Let those that have finished leave, if they are many; whether any problem still runs.

        `raised` is what candidates have raised since the last time, by their numbers in the batch
        that is stepped.
        """
        running = self.state.running
        count = int(running.sum())
        if 0 < count <= self._limit:
            self._limit = SHARE * count
            self._leave(running.nonzero().flatten(), raised)
        return count > 0

    def shrink(self, size: int) -> bool:
        """Let all but so many problems leave, none that runs; whether they could."""
        running = self.state.running.to(torch.int8)
        places = running.argsort(descending=True, stable=True)[:size].sort().values
        before = self.state
        self._leave(places, {})
        return self.state is not before

    def whole(self) -> State:
        """State of the whole batch; the next call writes to it."""
        if self.rows is None:
            return self.state
        for everybody, some in zip(tensors_of(self._whole), tensors_of(self.state), strict=True):
            everybody.index_copy_(0, self.rows, some.to(everybody.dtype))
        return self._whole

    def widened(self, info: StepInfo) -> StepInfo:
        """What a step did, for the whole batch: nothing, where a problem has left."""
        if self.rows is None:
            return info
        whole = self._whole
        stay = {name: getattr(whole, name) for name in ("value", "gradient_norm", "relaxation")}
        nothing = {name: t.new_zeros(len(whole.value)) for name, t in info._asdict().items()}
        return StepInfo(
            *(
                (nothing | stay)[name].index_copy(0, self.rows, some)
                for name, some in info._asdict().items()
            )
        )

    def raised(self, now: dict[int, str]) -> dict[int, str]:
        """What the last candidate of every problem raised, by its number in the whole batch."""
        if self.rows is None:
            return dict(now)
        rows = self.rows.tolist()
        kept = {row: text for row, text in self._raised.items() if row not in set(rows)}
        return kept | {rows[place]: text for place, text in now.items()}

    def confirmed(self) -> bool:
        """Whether a function that was tried says the same of the whole batch where it stands."""
        return not self.tried or agree(self._all, self.whole())

    def _leave(self, places: Tensor, raised: dict[int, str]) -> None:
        rows = places if self.rows is None else self.rows[places]
        x = self._whole.x
        solver = self._all.restricted(rows, x)
        tried = isinstance(self._all.objective, CallableObjective)
        if solver is None and self._trying:
            solver = self._all.restricted(rows, x, objective=self._all.objective)
        if solver is None:
            self._limit = 0.0
            return
        state: State = mapped(lambda t: t[places], self.state)
        there = _evaluated(solver, state)
        if there is None or not bool(_agree(there, state).all()):
            return
        self._raised = self.raised(raised)
        raised.clear()
        whole = self.whole()
        # Views and what others hold must not be written to.
        self._whole = mapped(Tensor.clone, whole) if self.rows is None else whole
        self.solver, self.state, self.rows, self.tried = solver, state, rows, tried


def agree(solver: ProjectedMMOptimizer, state: State) -> bool:
    """Whether an objective says of a batch what a state of it says, up to rounding."""
    there = _evaluated(solver, state)
    # Those without a finite start were never stepped.
    apart = ~(torch.isfinite(state.value) & torch.isfinite(state.gradient_norm))
    return there is not None and bool((_agree(there, state) | apart).all())


def _evaluated(solver: ProjectedMMOptimizer, state: State) -> Evaluation | None:
    """Evaluation where a state stands; None if nothing of that kind comes."""
    try:
        there = solver.evaluate_at(state.x)
    except Exception:  # a function for another number of problems may raise anything
        return None
    same = there.value.shape == state.value.shape and there.gradient.shape == state.gradient.shape
    return there if same else None


def _agree(there: Evaluation, state: State) -> Tensor:
    """Whether an evaluation is that of a state up to rounding, ``(B,)``.

    Far from the start both may be small, while the terms of the gradient are of the size that the
    steepest had, and those of a value far below it: their rounding is what is left there.
    """
    eps = max(torch.finfo(dtype).eps for dtype in (state.value.dtype, state.x.dtype))
    share = eps**AGREEMENT
    rest = ROUNDING * eps
    value = share * state.value.abs() + rest * state.initial.abs()
    gradient = share * state.gradient_norm + rest * state.steepest
    same: Tensor = (there.value - state.value).abs() <= value
    return same.logical_and(peak(there.gradient - state.gradient) <= gradient)
