"""What every solver of the comparison looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..recorder import Recorder
from ..suite import Case


def anything(case: Case) -> bool:
    """Most solvers take every problem."""
    return True


@dataclass(frozen=True)
class Solver:
    """A solver with its settings.

    Attributes
    ----------
    name : str
        In tables.
    run : callable
        ``run(case, recorder)`` solves, tells the recorder of every evaluation and of every
        iterate, and returns when the solver itself would go no further. The recorder ends it
        otherwise. Tolerances of the solver are switched off: the recorder knows the optimum.
    batched : bool
        Whether it solves a whole batch at once. Others are given one problem.
    suits : callable
        Whether a problem is one that the solver can express.
    ours : bool
        Whether it belongs to this library.
    """

    name: str
    run: Callable[[Case, Recorder], None]
    batched: bool = False
    suits: Callable[[Case], bool] = anything
    ours: bool = False
