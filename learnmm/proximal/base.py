"""The interface of penalties ``h`` in ``F = f + h``: convex, and simple enough for a prox."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnmm.curvature import Curvature, DiagonalCurvature
from learnmm.objective import Objective
from learnmm.plain import is_number, plain
from learnmm.proximal.penalized import Penalized
from learnmm.truth import holds
from learnmm.vectors import expand


class Penalty(ABC):
    """A convex ``h``, per problem, that need not be differentiable, or finite everywhere.

    The majorant's own step with a penalty is the minimizer of ``Q(z) + h(z)``: with a diagonal
    metric ``W`` that dominates ``B``,

    ``z = prox(x - W^-1 g)``, where ``prox(v) = argmin_z 1/2 |z - v|_W^2 + h(z)``.

    If the bound holds, ``F(z) <= F(x) - 1/2 |z - x|_W^2`` (Beck & Teboulle 2009, Lemma 2.3).

    Laws (``learnmm.checks.assert_penalty``): `prox` is that minimizer, `residual` vanishes just
    where ``x`` minimizes the sum, and problem ``i`` of a batch gets what it would get alone.

    Attributes
    ----------
    faces : bool
        Whether there are faces on which ``h`` is linear, told by `free`, `steepest`, `shares` and
        `confined`. A proposer's step then acts on the unknowns that are free, which without faces
        it cannot.
    separable : bool
        Whether ``h`` is a sum over unknowns, each alone.
    closed : bool
        Whether the prox has a closed form. Else it is iterated, and can be neither compiled nor
        differentiated.
    """

    faces: bool = False
    separable: bool = False
    closed: bool = True

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """``h(x)`` for iterates ``(B, *shape)``, ``(B,)``."""

    @abstractmethod
    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        """``argmin_z 1/2 sum_i w_i (z_i - v_i)^2 + h(z)`` for positive weights, ``(B, *shape)``."""

    def fall(self, x: Tensor, z: Tensor) -> Tensor:
        """``h(x) - h(z)``, ``(B,)``: part by part, or it is rounding where the two are close."""
        return self.value(x) - self.value(z)

    def rounding(self, x: Tensor) -> Tensor:
        """What sums inside ``h`` would move it by if they were off by a share of one, ``(B,)``."""
        return self.value(x)

    def metric(self, weights: Tensor) -> Tensor:
        """Least metric not below a diagonal one that `prox` can work in."""
        return weights

    def feasible(self, x: Tensor) -> Tensor:
        """Nearest point at which ``h`` is finite."""
        return x

    def endless(self, x: Tensor) -> Tensor:
        """Entries that may grow without end, zero in place of the others, ``(B, *shape)``."""
        return x

    def excess(self, v: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        """By how much a `prox` without closed form may miss the least value, ``(B,)``."""
        return v.new_zeros(len(v))

    def init_memory(self, x: Tensor) -> Any:
        """What a prox without closed form starts from; None where there is a closed form."""
        return None

    def observe(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any) -> Any:
        """What the steps from a point start from."""
        return memory

    def own(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any = None) -> Tensor:
        """Where the majorant's own step leads, ``z = prox(x - W^-1 g)``."""
        return self.prox(x - gradient / weights, weights)

    def residual(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any = None) -> Tensor:
        """``W (x - z)`` for the majorant's own ``z``: the gradient, were there no penalty."""
        return weights * (x - self.own(x, gradient, weights, memory))

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Shortest of all ``g + s`` with a subgradient ``s`` of ``h``: that of the way down."""
        return gradient

    def free(self, x: Tensor, target: Tensor, gradient: Tensor) -> Tensor:
        """Which unknowns stay on a face on the way to a target of the own step, ``(B, *shape)``."""
        raise NotImplementedError(f"{type(self).__name__} has no faces")

    def shares(self, x: Tensor, step: Tensor, gradient: Tensor) -> Tensor:
        """Share of a step ``d`` after which ``x - d`` leaves the face, at most 1, each unknown."""
        raise NotImplementedError(f"{type(self).__name__} has no faces")

    def confined(self, z: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
        """Nearest point to ``z`` on the face that leads down from ``x``."""
        raise NotImplementedError(f"{type(self).__name__} has no faces")

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise ValueError unless it is a penalty of such iterates."""

    @abstractmethod
    def scaled(self, factor: float) -> Penalty:
        """``factor h`` for a number that is not negative; bounds stay as they are."""

    def __mul__(self, factor: float) -> Penalty:
        """Penalty times a number that is not negative."""
        factor = plain(factor)
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        if not 0 <= factor < math.inf:
            raise ValueError(f"a factor of a penalty must be finite and not negative, got {factor}")
        return self.scaled(factor)

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Penalized:
        """Sum of an objective and a penalty."""
        if isinstance(other, Penalty | Penalized):
            raise TypeError(
                "an objective takes one penalty, and bounds= beside one, got a sum of "
                f"{type(self).__name__} and {type(other).__name__}"
            )
        return Penalized(other, self) if isinstance(other, Objective) else NotImplemented

    __radd__ = __add__

    @abstractmethod
    def restricted(self, rows: Tensor, x: Tensor) -> Penalty:
        """The same for some problems of a batch.

        Parameters
        ----------
        rows : Tensor of int
            Which.
        x : Tensor
            Iterates of all of them, ``(B, *shape)``.
        """


def separable_metric(curvature: Curvature, like: Tensor) -> Tensor:
    """Diagonal that dominates a curvature, ``(B, *shape)``: itself, or its largest eigenvalue.

    Entries below ``eps`` times the largest are raised to that, so that every unknown has a prox.
    """
    largest = expand(curvature.largest(), like).to(like.dtype)
    if not isinstance(curvature, DiagonalCurvature):
        return largest.expand_as(like)
    least = torch.finfo(like.dtype).eps * largest
    return torch.maximum(curvature.diagonal(like).to(like.dtype), least)


def level_of(what: str, value: Any) -> Tensor:
    """A number, a tensor or an array of numbers as a tensor without a graph.

    Raises
    ------
    TypeError
        For anything else, and for a tensor of no floating-point numbers.
    """
    value = plain(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.tensor(value.astype(np.float64))
    if not (is_number(value) or isinstance(value, Tensor)):
        raise TypeError(f"{what} must be a number, a tensor or an array, got {value!r:.60}")
    if isinstance(value, Tensor) and not value.is_floating_point():
        raise TypeError(f"{what} must be floating-point numbers, got {value.dtype}")
    level = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
    return level.detach()


def weight_of(owner: str, weight: Any) -> Tensor:
    """A weight as a tensor.

    Raises
    ------
    TypeError, ValueError
        Unless it is a finite number, or a tensor of them, and not negative.
    """
    level = level_of(f"{owner}: weight", weight)
    if not holds((torch.isfinite(level) & (level >= 0)).all()):
        raise ValueError(f"{owner}: weight must be finite and not negative, got {weight}")
    return level


def require_broadcast(owner: str, name: str, value: Tensor, shape: torch.Size) -> None:
    """Raise ValueError unless a tensor broadcasts to a shape."""
    try:
        fits = torch.broadcast_shapes(value.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{owner}: {name} must broadcast to {tuple(shape)}, got shape {tuple(value.shape)}"
        )


def inside(penalty: Penalty, x: Tensor) -> Tensor:
    """Nearest point inside of the bounds, for a batch or for one problem without its dimension.

    Which of the two it is can be asked there alone: nothing is evaluated outside.

    Raises
    ------
    ValueError
        If it is a penalty of neither.
    """
    try:
        penalty.check(x)
    except ValueError as error:
        try:
            penalty.check(x[None])
        except ValueError:
            raise error from None
        return penalty.feasible(x[None])[0]
    return penalty.feasible(x)


def rows_of(value: Tensor, rows: Tensor, x: Tensor) -> Tensor:
    """What of a tensor that broadcasts to ``(B, *shape)`` is that of some problems."""
    apart = value.dim() == x.dim() and len(value) == len(x)
    return value[rows.to(value.device)] if apart else value
