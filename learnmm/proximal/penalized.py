"""The sum of an objective and a penalty, as it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from learnmm.objective import Objective

if TYPE_CHECKING:
    from learnmm.proximal.base import Penalty


@dataclass(frozen=True, eq=False)
class Penalized:
    """``F = f + h``, which `minimize`, `ProjectedMMOptimizer` and `UnrolledMM` take.

    Attributes
    ----------
    objective : Objective
        ``f``.
    penalty : Penalty
        ``h``.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> energy = lmm.Quadratic(torch.tensor([[3.0, -0.5]])) + 2.0 * lmm.proximal.L1()
    >>> lmm.minimize(energy, torch.zeros(1, 2)).x.tolist()
    [[1.0, 0.0]]
    """

    objective: Objective
    penalty: Penalty

    def __call__(self, x: Tensor) -> Tensor:
        """``F(x)``, shape ``(B,)``."""
        return self.objective(x) + self.penalty.value(x)

    def __add__(self, other: Any) -> Penalized:
        """One more atom."""
        if not isinstance(other, Objective):
            return NotImplemented
        return Penalized(self.objective + other, self.penalty)  # type: ignore[operator]

    __radd__ = __add__


def apart(objective: Any, penalty: Penalty | None) -> tuple[Any, Penalty | None]:
    """Objective and penalty, where the first may be a sum of both.

    Raises
    ------
    ValueError
        If there are two penalties.
    """
    if not isinstance(objective, Penalized):
        return objective, penalty
    if penalty is not None:
        raise ValueError(
            f"the objective has a penalty, {type(objective.penalty).__name__}, and takes one: got "
            f"penalty={type(penalty).__name__} as well"
        )
    return objective.objective, objective.penalty
