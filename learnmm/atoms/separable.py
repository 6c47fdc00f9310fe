"""Losses that act entry by entry, with the smallest diagonal majorants known for them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from learnmm.atoms.base import Atom, require_like
from learnmm.atoms.losses import PHI, Loss, tanhc
from learnmm.bound import Bound
from learnmm.choices import chosen
from learnmm.curvature import DiagonalCurvature
from learnmm.kind import Kind
from learnmm.levels import require_positive, require_tensor
from learnmm.linear.base import LinearMap
from learnmm.objective import Evaluation
from learnmm.plain import flag, plain
from learnmm.truth import holds
from learnmm.vectors import summed


class _Separable(Atom):
    """Sum over entries of a loss of ``z`` and a target of the same shape."""

    def __init__(self, target: Tensor) -> None:
        require_tensor(f"{type(self).__name__}: targets", target)
        if target.dim() < 1 or not target.is_floating_point():
            raise ValueError(
                f"{type(self).__name__} expects floating-point targets (B, ...), got shape "
                f"{tuple(target.shape)} and dtype {target.dtype}"
            )
        if not holds(torch.isfinite(target).all()):
            raise ValueError(f"{type(self).__name__} expects finite targets, got NaN or infinity")
        self.target = target

    @abstractmethod
    def entries(self, z: Tensor) -> Tensor:
        """Loss of every entry, the shape of ``z``."""

    @abstractmethod
    def curvatures(self, z: Tensor) -> Tensor:
        """Curvature of every entry, the shape of ``z``."""

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Sum of the losses; the bound needs ``z`` alone."""
        return summed(self.entries(x)), ()

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Global diagonal curvature."""
        return Bound(Kind.GLOBAL, DiagonalCurvature(self.curvatures(x)))

    def check(self, x: Tensor) -> None:
        """Shapes, dtypes and devices agree with the targets."""
        require_like(self, x, self.target)

    def restricted(self, rows: Tensor) -> Self:
        """Targets of these problems."""
        return self._with(target=self.target[rows])


class Quadratic(_Separable):
    """``f(z) = 1/2 sum_i w_i (z_i - y_i)^2``; its majorant is exact.

    Parameters
    ----------
    target : Tensor
        ``y``, shape ``(B, *shape)``.
    weight : float or Tensor
        ``w > 0``, broadcastable to the target.
    """

    def __init__(self, target: Tensor, weight: float | Tensor = 1.0) -> None:
        super().__init__(target)
        require_positive("Quadratic: weight", weight)
        self.weight = torch.as_tensor(weight, dtype=target.dtype, device=target.device)
        require_positive("Quadratic: weight", self.weight)  # small ones vanish in a narrow dtype

    def restricted(self, rows: Tensor) -> Self:
        """Targets of these problems, and weights where they have their own."""
        weight, target = self.weight, self.target
        apart = weight.dim() == target.dim() and len(weight) > 1
        return self._with(target=target[rows], weight=weight[rows] if apart else weight)

    def entries(self, z: Tensor) -> Tensor:
        """Half the weighted square."""
        residual = z - self.target
        return self.weight * residual * residual / 2  # the square alone may overflow

    def curvatures(self, z: Tensor) -> Tensor:
        """``w``."""
        return self.weight.expand_as(z)


def least_squares(matrix: Tensor | LinearMap, y: Tensor) -> Atom:
    """``1/2 |A x - y|^2`` with curvature ``A^T A``, exact in the structured form."""
    return Quadratic(y) @ matrix


class HalfQuadratic(_Separable):
    """``f(z) = scale^2 sum_i phi((z_i - y_i) / scale)`` for an even ``phi`` with ``phi(sqrt .)``
    concave, majorized by the curvature ``phi'(t) / t`` (half-quadratic, Geman & Yang 1995).

    All six losses behave as ``t^2 / 2`` at zero. Huber, hyperbolic and log-cosh are convex;
    Cauchy, Geman-McClure and Welsch are not, and forgive outliers entirely.

    Parameters
    ----------
    target : Tensor
        ``y``, shape ``(B, *shape)``.
    loss : {"huber", "hyperbolic", "logcosh", "cauchy", "geman_mcclure", "welsch"}
        ``phi``, see `Loss`.
    scale : float
        Residual size at which the loss leaves the quadratic regime, positive.
    """

    def __init__(self, target: Tensor, loss: Loss | str = Loss.HUBER, scale: float = 1.0) -> None:
        super().__init__(target)
        require_positive("HalfQuadratic: scale", scale)
        self.loss = chosen(Loss, loss, "HalfQuadratic: loss")
        self.scale = plain(scale)

    def entries(self, z: Tensor) -> Tensor:
        """Scaled loss of every residual."""
        residual = z - self.target
        t = residual / self.scale
        # The square of a scale, or of a small ratio, may leave the range of the dtype.
        near = t.abs() < math.sqrt(torch.finfo(z.dtype).eps) / 2
        loss = self.scale * (self.scale * PHI[self.loss].value(t))
        return torch.where(near, residual * residual / 2, loss)

    def curvatures(self, z: Tensor) -> Tensor:
        """``phi'(t) / t``."""
        return PHI[self.loss].weight((z - self.target) / self.scale)

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form, ``phi'(t) = (phi'(t) / t) t``: differentiating Geman-McClure cancels."""
        value, aux = self.measure(x)
        return Evaluation(value, self.curvatures(x) * (x - self.target), aux)


class Logistic(_Separable):
    """``f(z) = sum_i log(1 + exp(-y_i z_i))`` for labels ``y_i`` in {-1, +1}.

    Parameters
    ----------
    labels : Tensor
        ``y``, shape ``(B, *shape)``, floating point, entries -1 or +1.
    tight : bool
        Curvature ``tanh(z/2) / (2 z)`` (Jaakkola & Jordan 2000) instead of the uniform 1/4
        (Boehning & Lindsay 1988). Both hold everywhere.
    """

    def __init__(self, labels: Tensor, tight: bool = True) -> None:
        require_tensor("Logistic: labels", labels)
        super().__init__(labels)
        if not bool((labels.abs() == 1).all()):
            raise ValueError(
                "Logistic expects labels -1 or +1, got numbers from "
                f"{float(labels.min()):.6g} to {float(labels.max()):.6g}"
            )
        self.tight = flag("Logistic: tight", tight)

    def entries(self, z: Tensor) -> Tensor:
        """``softplus(-y z)``; torch's own softplus drops ``exp(-20)``, more than rounding."""
        return -F.logsigmoid(self.target * z)

    def curvatures(self, z: Tensor) -> Tensor:
        """``tanh(z/2) / (2 z)``, or 1/4."""
        return tanhc(z / 2) / 4 if self.tight else torch.full_like(z, 0.25)
