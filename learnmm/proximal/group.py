"""The sum of Euclidean norms of groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.plain import plain
from learnmm.proximal.base import Penalty, require_broadcast, rows_of, weight_of
from learnmm.vectors import summed


class GroupL2(Penalty):
    """``h(x) = sum_g weight_g |x_g|`` over groups along some dimensions: whole groups vanish.

    The prox works in metrics that are constant over a group: others are raised to the largest
    entry there, which is still a bound.

    Parameters
    ----------
    weight : float or Tensor
        Not negative: a number, or a tensor that broadcasts to the iterates ``(B, *shape)`` with
        size 1 along the groups.
    dim : int or tuple of int
        Dimensions that make a group, counted from the last: ``-1``, or ``(-2, -1)``.

    Raises
    ------
    TypeError, ValueError
        For weights that are none, and dimensions that are not negative.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm.proximal import GroupL2
    >>> y = torch.tensor([[[3.0, 4.0], [0.3, 0.4]]])
    >>> penalty = GroupL2(1.0)
    >>> lmm.minimize(lmm.Quadratic(y), torch.zeros(1, 2, 2), penalty=penalty).x.round(
    ...     decimals=4
    ... ).tolist()
    [[[2.4..., 3.2...], [0.0, 0.0]]]
    """

    def __init__(self, weight: float | Tensor = 1.0, dim: int | tuple[int, ...] = -1) -> None:
        self.weight = weight_of("GroupL2", weight)
        self.dim = tuple(map(plain, dim if isinstance(dim, tuple) else (dim,)))
        if not self.dim or not all(isinstance(d, int) and d < 0 for d in self.dim):
            raise ValueError(f"GroupL2: dim counts from the last, as -1 does, got {dim}")

    def norms(self, x: Tensor) -> Tensor:
        """Norms of the groups, size 1 along them."""
        # Squares of what is over or under the range of the dtype are taken of what is not.
        largest = x.abs().amax(self.dim, keepdim=True)
        scale = torch.where(largest > 0, largest, 1.0)
        return scale * (x / scale).square().sum(self.dim, keepdim=True).sqrt()

    def value(self, x: Tensor) -> Tensor:
        """Weighted sum of the norms."""
        return summed(self.weight.to(x) * self.norms(x))

    def fall(self, x: Tensor, z: Tensor) -> Tensor:
        """Weighted sum of ``|x| - |z| = <x - z, x + z> / (|x| + |z|)``."""
        total = self.norms(x) + self.norms(z)
        total = torch.where(total > 0, total, 1.0)
        parts = ((x - z) * ((x + z) / total)).sum(self.dim, keepdim=True)
        return summed(self.weight.to(x) * parts)

    def metric(self, weights: Tensor) -> Tensor:
        """The largest entry of each group."""
        return weights.amax(self.dim, keepdim=True).expand_as(weights)

    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        """Shorten every group by ``weight / w``, and no further than to zero."""
        size = self.norms(v)
        most = self.weight.to(v) / weights.amax(self.dim, keepdim=True)
        left = (size - most).clamp(min=0) / torch.where(size > 0, size, 1.0)
        return left * v

    def residual(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any = None) -> Tensor:
        """``W (x - z)``, of which nothing cancels but ``g`` and the weight."""
        v, most = weights * x - gradient, self.weight.to(x)
        size = torch.maximum(self.norms(v), most)
        return gradient + v * (most / torch.where(size > 0, size, 1.0))

    def check(self, x: Tensor) -> None:
        """Shape of the weight, and groups within a problem."""
        if min(self.dim) <= -x.dim():
            raise ValueError(f"GroupL2: dim {self.dim} is none of one problem, {tuple(x.shape)}")
        shape = self.norms(x.new_zeros(x.shape)).shape
        require_broadcast("GroupL2", "weight", self.weight, shape)

    def scaled(self, factor: float) -> GroupL2:
        """Weights times a number."""
        return GroupL2(self.weight * factor, self.dim)

    def restricted(self, rows: Tensor, x: Tensor) -> GroupL2:
        """Weights of some problems."""
        return GroupL2(rows_of(self.weight, rows, x), self.dim)
