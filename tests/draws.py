"""Numbers drawn by a seed, the same on every machine and in every precision."""

from __future__ import annotations

import torch
from torch import Tensor


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Drawn in double precision, then rounded."""
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)
