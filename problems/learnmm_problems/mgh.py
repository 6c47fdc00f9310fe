"""The test set of Moré, Garbow and Hillstrom for unconstrained minimization, in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.objective import BatchFunction
from learnmm.registry import Instance
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.mgh_fixed import FIXED
from learnmm_problems.mgh_function import Function
from learnmm_problems.mgh_scalable import SCALABLE
from learnmm_problems.turned import Turned, rotations

FUNCTIONS: dict[str, Function] = {function.name: function for function in (*FIXED, *SCALABLE)}
"""All 35 by name, in the order of the paper."""

SPREAD = 0.1
"""Size of the perturbation of starts, relative to the standard start."""


@dataclass(frozen=True)
class MGHProblem(CheckedProblem):
    """``f(x) = sum_i r_i(x)^2``, one of 35 sums of squares (Moré, Garbow and Hillstrom 1981).

    The first problem of a batch starts at the standard point of the paper, the others around it.
    Optima are the least values published, zero for systems of equations that have a solution;
    minimizers are given where they have a closed form, and need not be the only ones. Several
    functions have other local minima, at infinity too, or are badly scaled by design. There are no
    majorants in closed form: solvers fall back on Lanczos.

    Parameters
    ----------
    function : str
        A name from ``FUNCTIONS``.
    unknowns : int or None
        Length of ``x``, for functions that come in many sizes. None: the standard one.
    turned : bool
        Whether each problem has a rotation of its own, ``f(Q x)``: else all are the same function,
        and only their starts differ.

    Raises
    ------
    ValueError
        For a function or a size that does not exist; the message lists those that do.

    Examples
    --------
    >>> from learnmm_problems.mgh import FUNCTIONS, MGHProblem
    >>> len(FUNCTIONS), list(FUNCTIONS)[:3]
    (35, ['rosenbrock', 'freudenstein-roth', 'powell-badly-scaled'])
    >>> drawn = MGHProblem("brown-dennis").instance(1)
    >>> round(float(drawn.objective(drawn.x0))), round(float(drawn.optimum))
    (7926693, 85822)
    """

    name: ClassVar[str] = "mgh"
    function: str = "powell-singular"
    unknowns: int | None = None
    turned: bool = False

    @property
    def shares(self) -> str:
        """The function, unless it is turned."""
        return "" if self.turned else "function"

    def __post_init__(self) -> None:
        """Refuse functions and sizes that do not exist."""
        super().__post_init__()
        if self.function not in FUNCTIONS:
            raise ValueError(
                f"function must be one of {', '.join(FUNCTIONS)}, got {self.function!r}"
            )
        sizes = FUNCTIONS[self.function].sizes
        if self.unknowns is not None and self.unknowns not in sizes:
            some = ", ".join(map(str, sizes[:3])) + (", ..." if len(sizes) > 3 else "")
            raise ValueError(f"{self.function} has {some} unknowns, got {self.unknowns}")

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Start at the standard point, then around it."""
        function = FUNCTIONS[self.function]
        n = self.unknowns or function.unknowns
        least, point = function.solution.least(n), function.solution.minimizer
        start = starts(function.start(n), batch, generator)
        minimizer = None if point is None else point(n).double().repeat(batch, 1)
        objective: BatchFunction = function
        if self.turned:
            turn = Turned(function, rotations(batch, n, generator))
            start = turn.back(start)
            minimizer = None if minimizer is None else turn.back(minimizer)
            objective = Turned(function, turn.rotations.to(dtype))
        return Instance(
            objective=objective,
            x0=start.to(dtype),
            optimum=None if least is None else torch.full((batch,), least, dtype=dtype),
            minimizer=None if minimizer is None else minimizer.to(dtype),
            facts={"convex": False, "number": function.number, **function.facts},
        )


def starts(standard: Tensor, batch: int, generator: torch.Generator | None) -> Tensor:
    """The standard start, then entries off by a tenth, zeros by a tenth of the mean entry."""
    noise = torch.randn(batch, len(standard), generator=generator, dtype=torch.float64)
    noise[0] = 0
    size = standard.abs()
    typical = size.mean() if bool(size.any()) else torch.ones((), dtype=torch.float64)
    return standard + SPREAD * noise * torch.where(size > 0, size, typical)
