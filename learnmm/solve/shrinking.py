"""A run in graphs, each for fewer problems than the one before: when it pays to leave a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from learnmm.solve.compaction import Packing, agree
from learnmm.solve.state import State
from learnmm.solve.status import Status
from learnmm.solve.whole import Graph, graph_of, is_made

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer

SHARE = 4
"""Once at most one in so many still runs, the rest may leave."""

FEWEST = 32
"""Problems of a batch that is left as it is: with fewer a step takes as long."""


def run_in_graphs(
    solver: ProjectedMMOptimizer, state: State, *, trying: bool
) -> tuple[State | None, float]:
    """The end of a run, and seconds of compiling.

    A graph for fewer problems is made once the steps that it would have made cheaper, in this run
    and those before, have taken as long as making it will: so waiting at most doubles the time.

    There is no end where the objective raises at some candidate, or where what was traced, or a
    function of fewer problems, has turned out to be another function.

    Parameters
    ----------
    solver : ProjectedMMOptimizer
        Of the whole batch.
    state : State
        Before the first step.
    trying : bool
        See :class:`~learnmm.solve.compaction.Packing`.
    """
    packing = Packing(solver, state, trying=trying)
    stretches = Stretches(packing)
    shrinking = True
    while stretches.unfinished:
        size = len(packing.state.value)
        graph = graph_of(packing.solver, packing.state)
        least = size // SHARE if shrinking and size > FEWEST else 0
        if not stretches.run(graph, stretches.left, least):
            return None, stretches.compiling
        smaller = size_for(stretches.count)
        if stretches.unfinished and not is_made(packing.solver, packing.state, smaller):
            spared = stretches.pace * (1 - smaller / size)
            patience = int((graph.seconds - graph.spent) / spared)
            if patience > 0:
                if not stretches.run(graph, min(patience, stretches.left), 0):
                    return None, stretches.compiling
                graph.spent += spared * stretches.steps
        if stretches.unfinished:
            shrinking = packing.shrink(size_for(stretches.count))
    whole = packing.whole().stopped(Status.MAX_ITER)
    return (whole if agree(solver, whole) else None), stretches.compiling


class Stretches:
    """Parts of a run, each in one graph.

    Attributes
    ----------
    left : int
        Steps that may be taken.
    steps : int
        Of the last part.
    pace : float
        Seconds that a step has taken there.
    compiling : float
        Seconds of compiling so far.
    """

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self.left = packing.solver.settings.steps
        self.steps, self.pace = 0, 0.0
        self.compiling = 0.0

    @property
    def count(self) -> int:
        """Problems that still run."""
        return int(self._packing.state.running.sum())

    @property
    def unfinished(self) -> bool:
        """Whether steps are wanted, and left."""
        return self.left > 0 and self.count > 0

    def run(self, graph: Graph, steps: int, least: int) -> bool:
        """Step until at most so many run; False where the objective raises."""
        packing = self._packing
        part = graph(packing.solver, packing.state, steps, least)
        self.compiling += part.compiling
        if part.state is None:
            return False
        packing.state = part.state
        self.left -= part.steps
        self.steps, self.pace = part.steps, part.seconds / part.steps
        return True


def size_for(count: int) -> int:
    """Size of a batch for so many problems: a power of two, so that there are few graphs."""
    return max(FEWEST, 1 << (count - 1).bit_length())
