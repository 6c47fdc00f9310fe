"""Multipliers without an interval: any size, any sign, descent by the safeguard alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learnmm.levels import require_positive, require_tensor
from learnmm.precision import full_precision
from learnmm.proposers.base import (
    LearnedPreconditioner,
    Point,
    Proposer,
    Step,
    relative_step,
    scale_free,
)
from learnmm.vectors import left_multiply


class Aim(NamedTuple):
    """Memory of :class:`Unprojected`.

    Attributes
    ----------
    direction : Tensor
        ``M g`` over its root mean square, ``(B, *shape)``.
    inner : Any
        Memory of the preconditioner.
    """

    direction: Tensor
    inner: Any


class Unprojected(Proposer):
    """``d = rms(x) m * M g``: the multipliers of a preconditioner on a direction of unit scale.

    Parameters
    ----------
    preconditioner : LearnedPreconditioner
        Proposes ``m``, one per unknown. It sees ``M g`` in place of the gradient.
    metric : callable, optional
        ``M``, linear, mapping gradients ``(B, *shape)`` to directions, such as `DampedInverse`.
        Default: the identity, which is the relaxed variant of MM-Net (R-MM-Net).

    Raises
    ------
    ValueError
        At the start of a solve, if the preconditioner proposes multipliers in a basis.
    """

    def __init__(
        self,
        preconditioner: LearnedPreconditioner,
        metric: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.preconditioner = preconditioner
        self.metric = metric

    def init_memory(self, x: Tensor) -> Aim:
        """No direction, and the memory of the preconditioner."""
        return Aim(torch.zeros_like(x), self.preconditioner.init_memory(x))

    def observe(self, point: Point, memory: Aim) -> Aim:
        """Aim, and show the preconditioner where."""
        direction = scale_free(point.gradient)
        if self.metric is not None:
            # A metric decides where the step goes: keep its products in full precision.
            with full_precision(direction):
                direction = scale_free(self.metric(direction))
        seen = point._replace(gradient=direction)
        return Aim(direction, self.preconditioner.observe(seen, memory.inner))

    def propose(self, point: Point, memory: Aim) -> Step:
        """Multiply the direction."""
        seen = point._replace(gradient=memory.direction)
        multipliers, basis = self.preconditioner.propose(seen, memory.inner)
        if basis is not None:
            raise ValueError(
                "Unprojected multiplies unknowns one by one, but "
                f"{type(self.preconditioner).__name__} proposes multipliers in a basis"
            )
        return relative_step(point.x, multipliers.to(point.x.dtype) * memory.direction)


class DampedInverse(nn.Module):
    """``g -> t (t I + A^T A / |A|^2)^-1 g`` on the first dimension, with a learned damping ``t``.

    The inverse of a quadratic data term's curvature: it shortens the few directions that the
    operator sees strongly, and passes those that it does not see.

    Parameters
    ----------
    matrix : Tensor
        ``A``, shape ``(m, n)``.
    damping : float
        Start of ``t``, relative to the largest eigenvalue of ``A^T A``; positive.

    Raises
    ------
    ValueError
        If the damping is not positive and finite, or the matrix is zero.
    """

    basis: Tensor
    spectrum: Tensor

    def __init__(self, matrix: Tensor, damping: float = 3e-3) -> None:
        super().__init__()
        require_tensor("DampedInverse: matrix", matrix)
        require_positive("damping", damping)
        self.log_damping = nn.Parameter(torch.tensor(math.log(damping), dtype=matrix.dtype))
        self.see(matrix)

    def see(self, matrix: Tensor) -> None:
        """Take another operator, ``(m, n)`` of any ``m``; the damping stays.

        Raises
        ------
        ValueError
            If the matrix is zero.
        """
        _, sigma, right = torch.linalg.svd(matrix.detach().double(), full_matrices=False)
        if not bool(sigma.max() > 0):
            raise ValueError("DampedInverse expects a matrix with an entry other than zero")
        # They follow from the matrix, and are no weights to store. None is dropped.
        basis, spectrum = right.mT.to(matrix.dtype).contiguous(), (sigma / sigma[0]) ** 2
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("spectrum", spectrum.to(matrix.dtype), persistent=False)

    def forward(self, gradient: Tensor) -> Tensor:
        """Apply to ``(B, n, *rest)``."""
        damping = self.log_damping.exp()
        inner = left_multiply(self.basis.mT, gradient)  # (B, r, *rest)
        change = damping / (damping + self.spectrum) - 1
        change = change.reshape(-1, *([1] * (inner.dim() - 2)))
        return gradient + left_multiply(self.basis, change * inner)
