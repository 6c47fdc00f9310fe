"""Total variation: the sum of the sizes of the differences between neighbours."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.nested import select
from learnmm.plain import flag, number, plain
from learnmm.proximal.base import Penalty, require_broadcast, rows_of, weight_of
from learnmm.truth import known
from learnmm.vectors import dot, expand, summed

OFF = 0.1
"""An own step may be off by this share of its length, in the metric of the prox."""

REST = 0.1
"""A step that is not known as well is taken if it falls by this share of what an exact one does."""

ACCURACY = 1e-6, 1e-10
"""Share of the least value that a prox may leave: of Euclidean norms of several differences, for
which the dual converges slowly, and of absolute values."""

ROUNDING = 16.0
"""Rounding error of a sum, in units of ``eps`` times the sum of the sizes of its terms."""

CHECK = 10
"""Dual steps from one look at the gap to the next."""

MOST = 10_000
"""Dual steps of one prox."""


class Nearby(NamedTuple):
    """A point near to a prox, and how near.

    Attributes
    ----------
    z : Tensor
        ``(B, *shape)``.
    p : Tensor
        The dual, of which `z` is made.
    gap : Tensor
        Primal minus dual value there, ``(B,)``: ``1/2 |z - prox|_W^2`` is at most that.
    enough : Tensor
        Gap that was to be reached.
    """

    z: Tensor
    p: Tensor
    gap: Tensor
    enough: Tensor


class TotalVariation(Penalty):
    """``h(x) = weight sum_i |(D x)_i|`` with the forward differences ``D`` along some dimensions.

    There is no closed prox. Its dual is ``max_p <D v, p> - 1/2 |D^T p|^2`` in the metric of
    ``W^-1``, over ``|p_i| <= weight``, and each ``p`` gives a ``z = v - W^-1 D^T p``. It is
    ascended by projected gradients with momentum (Chambolle 2004; Beck & Teboulle 2009) that
    restarts where it points down (O'Donoghue & Candes 2015), from where the last step has left it.
    A constant is compared with where it leads: with a large weight it is the minimizer, and rounded
    differences, times that weight, would hide it.

    How near ``z`` is, the gap tells: ``Q + h`` is strongly convex in the metric of ``W``, so that

    ``1/2 |z - prox|_W^2 <= gap = weight sum_i |(D z)_i| - <D z, p>``.

    A step from ``x`` is good where ``sqrt(2 gap) <= 0.1 |z - x|_W``: then
    ``Q(z) + h(z) <= F(x) - 0.4 |z - x|_W^2``, where the minimizer itself has 0.5. With a valid
    bound descent is proved as ever, and the residual is off by a tenth. Where the gap falls to
    `accuracy` first, the step is taken if ``F`` falls along it, and otherwise ``x`` passes for the
    minimum: the residual is zero.

    Parameters
    ----------
    weight : float or Tensor
        Not negative: a number, or one per problem, ``(B, 1, ...)`` with as many dimensions as the
        iterates ``(B, *shape)``.
    dim : int or tuple of int
        Dimensions with neighbours, counted from the last: ``-1`` for signals, ``(-2, -1)`` for
        images.
    isotropic : bool
        Whether the differences of a point along all dimensions have a Euclidean norm; otherwise
        their absolute values add up.
    accuracy : float, optional
        Share of the value of ``Q + h`` that a step may leave, beside rounding. Default: 1e-6 for
        Euclidean norms of several differences, for which the dual converges slowly, else 1e-10.

    Raises
    ------
    TypeError, ValueError
        For weights that are none, and dimensions that are not negative, or twice the same.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> y = torch.tensor([[1.0, 1.5, 0.5, 5.0, 6.0, 7.0]])
    >>> penalty = lmm.proximal.TotalVariation(0.75)
    >>> lmm.minimize(lmm.Quadratic(y), torch.zeros(1, 6), penalty=penalty).x.round(
    ...     decimals=3
    ... ).tolist()
    [[1.25, 1.25, 1.25, 5.0, 6.0, 6.25]]
    """

    closed = False

    def __init__(
        self,
        weight: float | Tensor = 1.0,
        dim: int | tuple[int, ...] = -1,
        *,
        isotropic: bool = True,
        accuracy: float | None = None,
    ) -> None:
        self.weight = weight_of("TotalVariation", weight)
        self.dim = tuple(map(plain, dim if isinstance(dim, tuple) else (dim,)))
        if not self.dim or not all(isinstance(d, int) and d < 0 for d in self.dim):
            raise ValueError(f"TotalVariation: dim counts from the last, as -1 does, got {dim}")
        if len(set(self.dim)) < len(self.dim):
            raise ValueError(f"TotalVariation: dim names a dimension twice, got {dim}")
        self.isotropic = flag("TotalVariation: isotropic", isotropic) and len(self.dim) > 1
        self.accuracy = number(
            "TotalVariation: accuracy",
            ACCURACY[not self.isotropic] if accuracy is None else accuracy,
        )
        if not 0 <= self.accuracy < 1:
            raise ValueError(f"TotalVariation: accuracy must be in [0, 1), got {accuracy}")

    def differences(self, x: Tensor) -> Tensor:
        """``D x``, ``(B, k, *shape)``: to the next along each dimension, zero for the last."""
        ends = [torch.diff(x, dim=d, append=x.narrow(d, -1, 1)) for d in self.dim]
        return torch.stack(ends, 1)

    def adjoint(self, p: Tensor) -> Tensor:
        """``D^T p`` for a ``p`` that is zero for the last along each dimension."""
        parts = [
            torch.diff(one, dim=d, prepend=torch.zeros_like(one.narrow(d, 0, 1)))
            for d, one in zip(self.dim, p.unbind(1), strict=True)
        ]
        return -torch.stack(parts).sum(0)

    def sizes(self, differences: Tensor) -> Tensor:
        """Norms at each point, ``(B, 1, *shape)``, or absolute values, ``(B, k, *shape)``."""
        size = differences.abs()
        return reduce(torch.hypot, size.unbind(1))[:, None] if self.isotropic else size

    def value(self, x: Tensor) -> Tensor:
        """Weighted sum of the sizes of differences."""
        return self._weighted(self.sizes(self.differences(x)))

    def rounding(self, x: Tensor) -> Tensor:
        """What differences are made of: both neighbours; nothing where none differ."""
        return torch.where(self.differences(x).flatten(1).any(1), self._neighbours(x), 0.0)

    def _neighbours(self, x: Tensor) -> Tensor:
        """Weighted sum of the sizes of both in every difference."""
        return 2 * len(self.dim) * summed(self.weight.to(x) * x.abs())

    def fall(self, x: Tensor, z: Tensor) -> Tensor:
        """Weighted sum of ``|a| - |b| = <a - b, a + b> / (|a| + |b|)`` over differences."""
        a, b = self.differences(x), self.differences(z)
        total = self.sizes(a) + self.sizes(b)
        total = torch.where(total > 0, total, 1.0)
        return self._weighted(self.differences(x - z) * ((a + b) / total))

    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        """Ascend the dual until the gap is small."""
        return self._solved(v, weights, None, None).z

    def excess(self, v: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        """Its share of the value, and rounding: that of ``v``, centred, in each difference."""
        apart, differences = z - v, self.differences(z)
        least = dot(weights * apart, apart) / 2 + self._weighted(self.sizes(differences))
        centred = v - v.mean(self.dim, keepdim=True)
        rounding = ROUNDING * self._neighbours(centred) + self._neighbours(z)
        rounding = torch.where(differences.flatten(1).any(1), rounding, ROUNDING * least)
        return self.accuracy * least + torch.finfo(v.dtype).eps * rounding

    def init_memory(self, x: Tensor) -> Tensor:
        """The dual, ``(B, k, *shape)``."""
        return torch.zeros_like(self.differences(x))

    def observe(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Tensor) -> Tensor:
        """The dual of the majorant's own step from here."""
        return self._solved(x - gradient / weights, weights, x, memory).p

    def own(
        self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Tensor | None = None
    ) -> Tensor:
        """Ascend the dual until the step is good; ``x`` where none is."""
        v = x - gradient / weights
        z, _, gap, _ = self._solved(v, weights, x, memory)
        return torch.where(expand(self._good(x, z, gradient, weights, gap), x), z, x)

    def residual(
        self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Tensor | None = None
    ) -> Tensor:
        """``W (x - z)``, and what that may be off where the dual has not got so far."""
        v = x - gradient / weights
        z, _, gap, enough = self._solved(v, weights, x, memory)
        vague = gap > enough
        told = self._good(x, z, gradient, weights, gap) | vague
        step = torch.where(expand(told, x), x - z, 0.0)
        off = expand(torch.where(vague, 2 * gap / x[0].numel(), 0.0), x)
        return weights * step + (weights * off).sqrt().copysign(step)

    def _good(self, x: Tensor, z: Tensor, gradient: Tensor, weights: Tensor, gap: Tensor) -> Tensor:
        """Whether a step is known well, or else leads down."""
        step = x - z
        length = dot(weights * step, step)
        # Q(x) + h(x) - Q(z) - h(z)
        fall = dot(gradient, step) - length / 2 + self.fall(x, z)
        return (2 * gap <= OFF**2 * length) | (fall > REST / 2 * length)

    def _solved(
        self, v: Tensor, weights: Tensor, x: Tensor | None, memory: Tensor | None
    ) -> Nearby:
        """Ascend the dual of a prox: that of a step from `x`, if it is one."""
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and v.requires_grad):
            raise TypeError(
                "TotalVariation iterates until it is done: it can neither be compiled nor "
                "differentiated"
            )
        mean = v.mean(self.dim, keepdim=True)  # the variation does not see it
        v, steps = v - mean, self._steps(weights)
        total = weights.sum(self.dim, keepdim=True)
        constant = (weights * v).sum(self.dim, keepdim=True) / total  # the nearest one
        x = x if x is None else x - mean
        p = ahead = self._begun(v, weights, constant, memory)
        age = v.new_ones(len(v))
        best = self._looked(v, weights, constant, x, p)
        for count in range(1, MOST + 1):
            done = best.gap <= best.enough
            if known((done | best.gap.isnan()).all()):
                break
            slopes = self.differences(v - self.adjoint(ahead) / weights)
            new = self._confined(ahead + steps * slopes)
            # Restart where the momentum points down.
            age = torch.where(dot((ahead - new) / steps, new - p) > 0, 1.0, age)
            older = (1 + (1 + 4 * age * age).sqrt()) / 2
            ahead = new + expand((age - 1) / older, p) * (new - p)
            p, age = new, older
            if count % CHECK == 0:
                now = self._looked(v, weights, constant, x, p)
                best = Nearby(*select(done, tuple(best), tuple(now)))
        return best._replace(z=mean + best.z)

    def _begun(self, v: Tensor, weights: Tensor, constant: Tensor, memory: Tensor | None) -> Tensor:
        """A first dual: the last one, or along one dimension that of a constant, if it is one."""
        p = self.init_memory(v) if memory is None else memory
        if len(self.dim) > 1:
            return p
        (dim,) = self.dim
        dual = (weights * (constant - v)).cumsum(dim)
        dual.narrow(dim, -1, 1).zero_()  # but for rounding it is
        dual = dual[:, None]
        holds = (dual.abs() <= self._weight(p)).flatten(1).all(1)
        return torch.where(expand(holds, p), dual, p)

    def _looked(
        self, v: Tensor, weights: Tensor, constant: Tensor, x: Tensor | None, p: Tensor
    ) -> Nearby:
        """Where a dual leads, or a constant that is nearer, and how near that is.

        The gap of a constant ``c`` is ``1/2 |c - z|_W^2``: no difference is rounded.
        """
        z = v - self.adjoint(p) / weights
        slopes = self.differences(z)
        along = (slopes * p).sum(1, keepdim=True) if self.isotropic else slopes * p
        gap = summed(self._weight(slopes) * self.sizes(slopes) - along)  # of terms that are >= 0
        apart = constant - z
        rest = dot(weights * apart, apart) / 2
        z = torch.where(expand(rest < gap, z), constant, z)
        gap = torch.minimum(rest, gap)
        enough = self.excess(v, z, weights)
        if x is not None:
            enough = torch.maximum(enough, OFF**2 / 2 * dot(weights * (x - z), x - z))
        return Nearby(z, p, gap.clamp(min=0.0), enough)

    def _steps(self, weights: Tensor) -> Tensor:
        """Diagonal ``T`` with ``D W^-1 D^T <= T^-1``, equal within what is confined together.

        ``|D| W^-1 |D^T|`` has row sums of at most ``2 k (1 / w_i + 1 / w_{i+1})``.
        """
        inverse = 1 / weights
        rows = torch.stack([inverse + inverse.roll(-1, d) for d in self.dim], 1)
        rows = rows.amax(1, keepdim=True) if self.isotropic else rows
        return 1 / (2 * len(self.dim) * rows)

    def _confined(self, p: Tensor) -> Tensor:
        """Nearest with ``|p_i| <= weight``."""
        weight = self._weight(p)
        size = torch.maximum(self.sizes(p), weight)
        return p * (weight / torch.where(size > 0, size, 1.0))

    def _weighted(self, parts: Tensor) -> Tensor:
        """Weighted sum over all but the batch."""
        return summed(self._weight(parts) * parts)

    def _weight(self, parts: Tensor) -> Tensor:
        """The weight beside differences, ``(B, k, *shape)``."""
        weight = self.weight.to(parts)
        return weight[:, None] if weight.dim() == parts.dim() - 1 else weight

    def check(self, x: Tensor) -> None:
        """Shape of the weight, and neighbours within a problem."""
        if min(self.dim) <= -x.dim():
            raise ValueError(
                f"TotalVariation: dim {self.dim} is none of one problem, {tuple(x.shape)}"
            )
        one = torch.Size([len(x), *[1] * (x.dim() - 1)])
        require_broadcast("TotalVariation", "weight", self.weight, one)

    def scaled(self, factor: float) -> TotalVariation:
        """Weights times a number."""
        return self._weighing(self.weight * factor)

    def restricted(self, rows: Tensor, x: Tensor) -> TotalVariation:
        """Weights of some problems."""
        return self._weighing(rows_of(self.weight, rows, x))

    def _weighing(self, weight: Tensor) -> TotalVariation:
        """The same with other weights."""
        return TotalVariation(weight, self.dim, isotropic=self.isotropic, accuracy=self.accuracy)
