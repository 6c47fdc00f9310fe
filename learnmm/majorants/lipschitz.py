"""A curvature that the caller knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature
from learnmm.kind import Kind
from learnmm.levels import require_positive


class LipschitzMajorant:
    """``L I`` for a gradient that the caller knows to be Lipschitz with constant ``L``.

    Parameters
    ----------
    constant : float or Tensor
        ``L > 0``, a number or one per problem ``(B,)``. The bound is `GLOBAL` on the caller's
        word; the certificate counts violations.

    Raises
    ------
    TypeError
        If the constant is neither a number nor a tensor.
    ValueError
        If it is not positive and finite, or of another shape.
    """

    def __init__(self, constant: float | Tensor) -> None:
        require_positive("a Lipschitz constant", constant)
        # A float must not be rounded down to the default dtype: it would be no bound any more.
        level = torch.as_tensor(
            constant, dtype=None if isinstance(constant, Tensor) else torch.float64
        )
        if level.dim() > 1:
            raise ValueError(f"a Lipschitz constant is one or (B,), got {tuple(level.shape)}")
        self.constant = level

    def __call__(self, x: Tensor, aux: Any = None) -> Bound:
        """Return ``L I``."""
        level = self.constant.to(x).expand(x.shape[0])
        return Bound(Kind.GLOBAL, ScalarCurvature(level))

    def restricted(self, rows: Tensor) -> LipschitzMajorant:
        """Return the same for some problems of its batch, ``(b,)``."""
        return self if self.constant.dim() == 0 else LipschitzMajorant(self.constant[rows])
