"""Weights, constants and widths that users give: numbers, or tensors of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnmm.plain import number
from learnmm.truth import holds

__all__ = ["not_negative", "require_positive", "require_tensor"]


def require_tensor(what: str, value: Any) -> None:
    """Raise `TypeError` unless a value is a tensor."""
    if not isinstance(value, Tensor):
        hint = ": torch.as_tensor makes it one" if isinstance(value, np.ndarray) else ""
        raise TypeError(f"{what} must be a torch.Tensor, got {type(value).__name__}{hint}")


def require_positive(what: str, value: Any) -> None:
    """Raise unless a number, or every number of a tensor or an array, is positive and finite.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it, or one of them, is not; or if there are none.
    """
    if isinstance(value, Tensor | np.ndarray):
        level = torch.as_tensor(value)
        right = level.numel() > 0 and holds(((level > 0) & torch.isfinite(level)).all())
    else:
        value = number(what, value)
        right = 0 < value < math.inf
    if not right:
        raise ValueError(f"{what} must be positive and finite, got {value}")


def not_negative(what: str, value: Any) -> float:
    """Return a finite number of zero or more; raise TypeError for none, ValueError for others."""
    level = number(what, value)
    if not 0 <= level < math.inf:
        raise ValueError(f"{what} must be non-negative and finite, got {level}")
    return level
