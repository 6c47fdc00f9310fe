"""Bounds on unknowns: the penalty that is zero inside a box and infinite outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from learnmm.proximal.base import Penalty, level_of, require_broadcast, rows_of
from learnmm.truth import holds

NAMES = ("lower", "upper")


class Box(Penalty):
    """``h(x) = 0`` where ``lower <= x <= upper``, infinity elsewhere; its prox is the projection.

    Unknowns that the majorant's own step carries to a bound, or holds there, are taken by it. What
    a proposer says moves the others, and is projected.

    Parameters
    ----------
    lower, upper : float or Tensor or array or None
        Numbers, or tensors or arrays of NumPy that broadcast to the iterates ``(B, *shape)``:
        ``shape`` for all problems alike, ``(B, 1, ...)`` for one per problem. None and infinity are
        no bound. Where both are equal, the unknown is fixed. They are rounded to the dtype of the
        iterates.

    Raises
    ------
    TypeError, ValueError
        For what is no number, for NaN, and where nothing lies between the bounds.

    Examples
    --------
    >>> import torch
    >>> from learnmm.proximal import Box
    >>> Box(0.0, 1.0).feasible(torch.tensor([[-2.0, 0.5, 3.0]])).tolist()
    [[0.0, 0.5, 1.0]]
    """

    faces = True

    def __init__(self, lower: float | Tensor | None, upper: float | Tensor | None = None) -> None:
        self.lower = limit_of("lower", lower, -torch.inf)
        self.upper = limit_of("upper", upper, torch.inf)
        try:
            low, high = torch.broadcast_tensors(self.lower, self.upper.to(self.lower.device))
        except RuntimeError:
            raise ValueError(
                "bounds: lower and upper must broadcast, got shapes "
                f"{tuple(self.lower.shape)} and {tuple(self.upper.shape)}"
            ) from None
        if not holds(((low <= high) & (low < torch.inf) & (high > -torch.inf)).all()):
            bad = ~((low <= high) & (low < torch.inf) & (high > -torch.inf))
            raise ValueError(
                "bounds: lower must be at most upper, and some number between them, got "
                f"{float(low[bad][0]):.6g} and {float(high[bad][0]):.6g}"
            )

    def limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both bounds in dtype and on the device of iterates."""
        return self.lower.to(x), self.upper.to(x)

    def endless(self, x: Tensor) -> Tensor:
        """What no bound lies beyond."""
        lower, upper = self.limits(x)
        return torch.where(torch.where(x > 0, upper, lower).isinf(), x, 0.0)

    def value(self, x: Tensor) -> Tensor:
        """Zero: iterates lie inside."""
        return x.new_zeros(len(x))

    def feasible(self, x: Tensor) -> Tensor:
        """Project."""
        return x.clamp(*self.limits(x))

    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        """Project, whatever the weights."""
        return self.feasible(v)

    def residual(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any = None) -> Tensor:
        """The gradient, where it points outward at most the distance to the bound times ``w``."""
        lower, upper = self.limits(x)
        return gradient.clamp(weights * (x - upper), weights * (x - lower))

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The gradient, zero where it points outward at a bound."""
        lower, upper = self.limits(x)
        held = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
        return gradient.masked_fill(held, 0.0)

    def free(self, x: Tensor, target: Tensor, gradient: Tensor) -> Tensor:
        """Which targets lie strictly inside."""
        lower, upper = self.limits(x)
        return (target > lower) & (target < upper)

    def shares(self, x: Tensor, step: Tensor, gradient: Tensor) -> Tensor:
        """Distance to the bound ahead over the step."""
        lower, upper = self.limits(x)
        room = torch.where(step > 0, x - lower, x - upper)
        return torch.where(step == 0, 1.0, room / torch.where(step == 0, 1.0, step)).clamp(max=1.0)

    def confined(self, z: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
        """Project."""
        return self.feasible(z)

    def check(self, x: Tensor) -> None:
        """Shapes, and that the bounds are still some in the dtype of ``x``."""
        for name, value in (("lower", self.lower), ("upper", self.upper)):
            require_broadcast("bounds", name, value, x.shape)
        lower, upper = self.limits(x)
        if not holds((lower < torch.inf).all() & (upper > -torch.inf).all()):
            raise ValueError(f"bounds: {x.dtype} has no number between lower and upper")

    def scaled(self, factor: float) -> Box:
        """Zero and infinity are what they were."""
        return self

    def restricted(self, rows: Tensor, x: Tensor) -> Box:
        """Bounds of some problems."""
        return Box(rows_of(self.lower, rows, x), rows_of(self.upper, rows, x))


class NonNegative(Box):
    """``x >= 0``."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def restricted(self, rows: Tensor, x: Tensor) -> NonNegative:
        """The same for all problems."""
        return self


def bounded(bounds: Any, read: Callable[[Any, str], Any] = lambda limit, name: limit) -> Box:
    """Box of a pair ``(lower, upper)``.

    Parameters
    ----------
    bounds : pair
        Two bounds as in :class:`Box`.
    read : callable
        Makes such bounds of others, ``read(limit, name)``.

    Raises
    ------
    TypeError
        For anything but a pair.
    """
    if not (isinstance(bounds, tuple | list) and len(bounds) == 2):
        what = f"{len(bounds)} parts" if isinstance(bounds, tuple | list) else repr(bounds)
        raise TypeError(f"bounds must be a pair (lower, upper), got {what}")
    return Box(*(read(limit, name) for limit, name in zip(bounds, NAMES, strict=True)))


def limit_of(name: str, value: Any, otherwise: float) -> Tensor:
    """A bound as a tensor, `otherwise` where it is None.

    Raises
    ------
    TypeError, ValueError
        For what is no number, and for NaN.
    """
    value = otherwise if value is None else value
    limit = level_of(f"bounds: {name}", value)
    if not holds(~torch.isnan(limit).any()):
        raise ValueError(f"bounds: {name} must have no NaN, got {value}")
    return limit
