"""Softmax cross-entropy for several classes, with Boehning's curvature ``(I - 11^T / K) / 2``."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from learnmm.atoms.base import Atom, require_like
from learnmm.bound import Bound
from learnmm.curvature import LevelCurvature
from learnmm.kind import Kind
from learnmm.levels import require_tensor
from learnmm.objective import Evaluation
from learnmm.vectors import expand, summed

BOEHNING = 0.5
"""Largest eigenvalue of ``diag(p) - p p^T`` over probability vectors: two classes at one half."""


class Softmax(Atom):
    """``f(z) = sum_i [log sum_k exp(z_ik) - sum_k y_ik z_ik]``, classes ``k`` come last.

    The negative log-likelihood of multinomial logistic regression. The Hessian of row ``i`` is
    ``diag(p_i) - p_i p_i^T`` with ``p = softmax(z)``, and ``(I - 11^T / K) / 2`` dominates it for
    every ``p`` (Boehning 1992), so the bound is `GLOBAL`: the variance of ``v`` under ``p`` is at
    most ``(max v - min v)^2 / 4 <= |v - mean(v)|^2 / 2``.

    Adding a constant to the logits of a row changes nothing; the curvature vanishes along this
    direction, as the gradient does. A matrix in front, ``Softmax(y) @ A``, acts on the first
    dimension, that is on weights ``(B, features, K)`` for rows of data ``(rows, features)``.

    Parameters
    ----------
    targets : Tensor
        ``y``, shape ``(B, ..., K)`` with at least two classes: one-hot, or any probabilities.

    Raises
    ------
    ValueError
        If the targets are not probabilities along the last dimension.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> features = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])  # the last one is constant
    >>> targets = torch.eye(3)[None]  # three rows, one of each class
    >>> energy = lmm.Softmax(targets) @ features + lmm.Quadratic(torch.zeros(1, 2, 3), 0.01)
    >>> result = lmm.minimize(energy, torch.zeros(1, 2, 3))
    >>> (features @ result.x[0]).argmax(1).tolist()
    [0, 1, 2]
    """

    def __init__(self, targets: Tensor) -> None:
        require_tensor("Softmax: targets", targets)
        if not targets.is_floating_point() or targets.dim() < 2 or targets.shape[-1] < 2:
            raise ValueError(
                "Softmax expects floating-point targets (B, ..., K) for K >= 2 classes, got shape "
                f"{tuple(targets.shape)} and dtype {targets.dtype}"
            )
        total = targets.sum(-1)
        off = 8 * targets.shape[-1] * torch.finfo(targets.dtype).eps
        if not bool((targets >= 0).all() and ((total - 1).abs() <= off).all()):
            raise ValueError(
                "Softmax expects probabilities along the last dimension, got entries from "
                f"{float(targets.min()):.6g} and sums from {float(total.min()):.6g} to "
                f"{float(total.max()):.6g}"
            )
        self.targets = targets

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Sum over rows; the bound needs nothing."""
        return self._loss(x, _largest_apart(x)), ()

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form: the gradient is ``p - y``, with all digits where ``p`` is close to ``y``."""
        apart = _largest_apart(x)
        others, top = apart.others, apart.top
        rest = others.sum(-1, keepdim=True)
        # 1 - p of the largest class is rest / (1 + rest), which loses nothing to cancellation.
        largest = (1 - self.targets) - rest / (1 + rest)
        gradient = torch.where(top, largest, others / (1 + rest) - self.targets)
        return Evaluation(self._loss(x, apart), gradient)

    def _loss(self, x: Tensor, apart: _Apart) -> Tensor:
        return summed((self.targets * apart.below).sum(-1) + torch.log1p(apart.others.sum(-1)))

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Boehning's curvature, the same everywhere."""
        return Bound(Kind.GLOBAL, CenteredCurvature(x.new_full((x.shape[0],), BOEHNING)))

    def check(self, x: Tensor) -> None:
        """Shapes, dtypes and devices agree with the targets."""
        require_like(self, x, self.targets)

    def restricted(self, rows: Tensor) -> Self:
        """Targets of these problems."""
        return self._with(targets=self.targets[rows])


class _Apart(NamedTuple):
    """Logits next to the largest of their row, which stands for the row's scale."""

    top: Tensor  # where it is, bool, the shape of the logits
    below: Tensor  # by how much the others fall short of it
    others: Tensor  # their exponentials; zero for the largest itself


def _largest_apart(z: Tensor) -> _Apart:
    index = z.detach().argmax(-1, keepdim=True)
    top = torch.zeros_like(z, dtype=torch.bool).scatter(-1, index, True)
    below = z.gather(-1, index) - z
    return _Apart(top, below, torch.where(top, 0.0, torch.exp(-below)))


class CenteredCurvature(LevelCurvature):
    """``B = b (I - 11^T / K)`` on the last dimension: curved along differences of classes alone.

    Parameters
    ----------
    value : Tensor
        ``b``, shape ``(B,)``.
    """

    def project(self, v: Tensor) -> Tensor:
        """``v - mean(v)``."""
        return v - v.mean(-1, keepdim=True)

    def diagonal(self, like: Tensor) -> Tensor:
        """``b (1 - 1 / K)``."""
        return expand(self.value * (1 - 1 / like.shape[-1]), like).expand_as(like)
