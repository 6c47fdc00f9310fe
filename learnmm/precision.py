"""Where autocast is switched off."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["full_precision"]


def full_precision(x: Tensor) -> torch.autocast:
    """Switch autocast off: what decides about descent is computed in the dtype of ``x``."""
    return torch.autocast(x.device.type, enabled=False)
