"""Prior of a linear smoother: the cosine distance between ``x`` and its smoothed self."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from torch import Tensor

from learnmm.atoms.angles import (
    cosine,
    cosine_gradients,
    joint_constant,
    joint_pointwise,
    require_direction,
)
from learnmm.atoms.base import Atom, brought
from learnmm.bound import Bound
from learnmm.choices import chosen
from learnmm.curvature import ScalarCurvature
from learnmm.kind import Kind
from learnmm.levels import not_negative
from learnmm.linear.base import LinearMap
from learnmm.linear.forms import Form
from learnmm.linear.matrix import MatrixMap
from learnmm.objective import Evaluation


class SmootherBound(StrEnum):
    """Which curvature bounds the prior of a smoother."""

    GLOBAL = "global"
    """Theorem 3 with ``M = 0``: valid everywhere."""
    POINTWISE = "pointwise"
    """The Gauss-Newton curvature at the point."""


class LinearSmootherPrior(Atom):
    """``f(x) = 1 - cos(x, S x)``: zero where smoothing changes the length of ``x`` alone.

    Theorem 2 with ``|S h| <= |S| |h|``, i.e. Theorem 3 with ``M = 0``, gives the `GLOBAL` curvature
    ``c(s) (1 / |x|^2 + |S|^2 / |S x|^2)``.

    Parameters
    ----------
    smoother : Tensor or LinearMap
        ``S``: a square matrix ``(n, n)``, dense or sparse, on the first dimension after the batch,
        or any linear map that keeps the shape of ``x``, such as that of
        `learnmm.linear.convolution`. Where its norm is only probable, so is the bound.
    bound : {"global", "pointwise"}
        "pointwise" replaces ``c(s)`` by the curvature at the point, ``max(1 + s, sqrt(1 - s^2))``:
        at most half, and open to relaxation, but a promise about the Hessian only.
    floor : float
        Length below which ``|x|`` and ``|S x|`` are smoothed; 0 makes zero an error.

    Raises
    ------
    TypeError, ValueError
        If the smoother is no linear map or not square, for an unknown bound, or a negative floor.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> mean = lmm.linear.convolution(torch.full((3, 3), 1 / 9), (8, 8))
    >>> prior = lmm.LinearSmootherPrior(mean)
    >>> bool(prior(torch.ones(2, 8, 8)).max() < 1e-6)
    True
    """

    def __init__(
        self,
        smoother: Tensor | LinearMap,
        bound: SmootherBound | str = SmootherBound.GLOBAL,
        floor: float = 0.0,
    ) -> None:
        self.mode = chosen(SmootherBound, bound, "LinearSmootherPrior: bound")
        self.floor = not_negative("LinearSmootherPrior: floor", floor)
        if isinstance(smoother, Tensor):
            smoother = MatrixMap(smoother, Form.UNIFORM)
        if not isinstance(smoother, LinearMap):
            raise TypeError(
                "LinearSmootherPrior expects a matrix or a linear map, got "
                f"{type(smoother).__name__}"
            )
        if not smoother.keeps_shape:
            raise ValueError(
                "LinearSmootherPrior expects a square linear map, which keeps the shape of x, got "
                f"one from {smoother.domain} to {smoother.image}"
            )
        self.smoother = smoother

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Distance, and what the bound needs."""
        distance, norm_x, norm_smooth, _ = cosine(x, self.smoother(x), self.floor)
        return distance, (distance, norm_x, norm_smooth)

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form: gradients in both arguments, the second pulled back by ``S^T``."""
        smooth = self.smoother(x)
        pieces = cosine(x, smooth, self.floor)
        direct, through = cosine_gradients(x, smooth, pieces)
        gradient = direct + self.smoother.adjoint(through)
        return Evaluation(pieces.distance, gradient, (pieces.distance, *pieces[1:3]))

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Theorem 3 with ``M = 0``, or the Gauss-Newton curvature, which is all there is."""
        distance, norm_x, norm_smooth = brought(self, aux, 3)
        # The norm times the inverse: a square of either may leave the range of the dtype.
        spread = (1 / norm_x) ** 2 + (self.smoother.norm(x) / norm_smooth) ** 2
        if self.mode is SmootherBound.POINTWISE:
            bound = Bound(Kind.POINTWISE, ScalarCurvature(joint_pointwise(distance) * spread))
        else:
            bound = Bound(Kind.GLOBAL, ScalarCurvature(joint_constant(distance) * spread))
        return bound.weakened(self.smoother.kind, self.smoother.failure_probability)

    def check(self, x: Tensor) -> None:
        """The smoother fits, and both vectors have a direction."""
        self.smoother.check(x)
        require_direction("x", x, self.floor)
        require_direction("S x", self.smoother(x), self.floor)

    def restricted(self, rows: Tensor) -> Self:
        """All problems share it."""
        return self
