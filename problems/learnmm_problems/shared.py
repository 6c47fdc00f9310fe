"""What the instances of a family have in common: drawn by a seed of its own, or anew."""

from __future__ import annotations

import torch


def common(seed: int | None, generator: torch.Generator | None) -> torch.Generator | None:
    """Return the generator of what a batch shares: for None the batch's own.

    With a seed, every batch of the family draws the same, whatever its generator: what is learned
    on some of them serves the others.
    """
    return generator if seed is None else torch.Generator().manual_seed(seed)


def shared_by(seed: int | None, what: str) -> str:
    """Return what a family shares: nothing where each batch draws its own."""
    return "" if seed is None else what
