"""Metrics of a batch of estimates: one array per metric, one number per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

__all__ = ["PerSample"]


@dataclass(frozen=True, eq=False)
class PerSample:
    """Base of records whose fields are arrays of shape (batch,)."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def summary(self) -> dict[str, float]:
        """Mean over the samples of every metric."""
        return {f.name: float(np.mean(getattr(self, f.name))) for f in fields(self)}

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the metrics of several batches."""
        if not parts:
            raise ValueError(f"{cls.__name__}.concatenate: there is nothing to join")
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))
