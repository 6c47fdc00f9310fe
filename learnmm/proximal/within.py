"""A penalty and bounds together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.proximal.base import Penalty
from learnmm.proximal.box import Box


class Within(Penalty):
    """``h(x)`` where ``lower <= x <= upper``, infinity elsewhere, for a separable ``h``.

    Its prox is that of ``h``, projected. In a diagonal metric unknowns are apart: each minimizes a
    convex ``w (z - v)^2 / 2 + h(z)``, which falls up to its minimizer and rises from there on. So
    its minimum between bounds is that minimizer, or the bound next to it. Groups and differences
    are not apart, and what is nearest to their prox is not the minimum.

    Parameters
    ----------
    penalty : Penalty
        ``h``, separable: `L1`.
    box : Box
        The bounds.

    Raises
    ------
    TypeError, ValueError
        For what is no penalty, or none that is separable.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> y = torch.tensor([[3.0, -0.5, -2.0]])
    >>> penalty = lmm.proximal.L1(1.0)
    >>> lmm.minimize(lmm.Quadratic(y), 0 * y, bounds=(0, None), penalty=penalty).x.tolist()
    [[2.0, 0.0, 0.0]]
    """

    def __init__(self, penalty: Penalty, box: Box) -> None:
        if not isinstance(penalty, Penalty):
            raise TypeError(f"penalty must be a Penalty or None, got {type(penalty).__name__}")
        if not penalty.separable:
            raise ValueError(
                f"bounds go with a penalty of single unknowns, such as L1, got bounds beside "
                f"{type(penalty).__name__}, whose prox within them has no closed form"
            )
        self.penalty, self.box = penalty, box
        self.faces = penalty.faces

    def value(self, x: Tensor) -> Tensor:
        """``h``: iterates lie inside."""
        return self.penalty.value(x)

    def fall(self, x: Tensor, z: Tensor) -> Tensor:
        """That of ``h``."""
        return self.penalty.fall(x, z)

    def rounding(self, x: Tensor) -> Tensor:
        """That of ``h``."""
        return self.penalty.rounding(x)

    def endless(self, x: Tensor) -> Tensor:
        """What no bound lies beyond."""
        return self.box.endless(x)

    def feasible(self, x: Tensor) -> Tensor:
        """Project."""
        return self.box.feasible(x)

    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        """That of ``h``, projected."""
        return self.box.feasible(self.penalty.prox(v, weights))

    def residual(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any = None) -> Tensor:
        """That of ``h``, where the bounds leave room for it."""
        # It takes the place of the gradient: without h, it is that.
        return self.box.residual(x, self.penalty.residual(x, gradient, weights), weights)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """That of ``h``, zero where it points outward at a bound."""
        return self.box.steepest(x, self.penalty.steepest(x, gradient))

    def free(self, x: Tensor, target: Tensor, gradient: Tensor) -> Tensor:
        """What neither holds."""
        free = self.penalty.free(x, target, gradient)
        return free & self.box.free(x, target, gradient)

    def shares(self, x: Tensor, step: Tensor, gradient: Tensor) -> Tensor:
        """Share of a step up to whatever comes first."""
        shares = self.penalty.shares(x, step, gradient)
        return torch.minimum(shares, self.box.shares(x, step, gradient))

    def confined(self, z: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
        """On the face of ``h``, projected."""
        return self.box.feasible(self.penalty.confined(z, x, gradient))

    def check(self, x: Tensor) -> None:
        """Both."""
        self.penalty.check(x)
        self.box.check(x)

    def scaled(self, factor: float) -> Within:
        """The same bounds."""
        return Within(self.penalty.scaled(factor), self.box)

    def restricted(self, rows: Tensor, x: Tensor) -> Within:
        """Both, of some problems."""
        return Within(self.penalty.restricted(rows, x), self.box.restricted(rows, x))
