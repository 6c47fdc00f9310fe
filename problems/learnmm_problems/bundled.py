"""Data sets that scikit-learn carries along: nothing is downloaded."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
REDUCTION = 4
"""Photographs are averaged over squares of so many pixels, so that a small crop shows something."""


def datasets(problem: str) -> ModuleType:
    """Return ``sklearn.datasets``, or say which extra brings it for the problem of this name."""
    try:
        import sklearn.datasets
    except ImportError as error:
        raise ImportError(
            f"the problem {problem!r} takes its data from scikit-learn: pip install 'learnmm[toy]'"
        ) from error
    module: ModuleType = sklearn.datasets
    return module


def digits(problem: str) -> tuple[Tensor, Tensor]:
    """1797 images of 64 pixels in [0, 1], float64, row-major, and their digits (Alpaydin 1998)."""
    pixels, labels = datasets(problem).load_digits(return_X_y=True)
    return torch.from_numpy(pixels).double() / 16, torch.from_numpy(labels).long()


def photographs(
    problem: str, batch: int, side: int, generator: torch.Generator | None = None
) -> Tensor:
    """Grey crops at random places of the two photographs, ``(batch, side, side)`` in [0, 1].

    Raises
    ------
    ValueError
        If the side exceeds the smaller side of the reduced photographs.
    """
    load = datasets(problem).load_sample_image
    whole = torch.stack([torch.from_numpy(load(name).copy()) for name in PHOTOGRAPHS])
    grey = whole.double().mean(-1, keepdim=True).movedim(-1, 1) / 255
    small = torch.nn.functional.avg_pool2d(grey, REDUCTION)[:, 0]
    height, width = small.shape[1:]
    if not 1 <= side <= height:
        raise ValueError(f"photographs come in sides from 1 to {height} pixels, got {side}")
    which = torch.randint(len(small), (batch,), generator=generator).tolist()
    top = torch.randint(height - side + 1, (batch,), generator=generator).tolist()
    left = torch.randint(width - side + 1, (batch,), generator=generator).tolist()
    places = zip(which, top, left, strict=True)
    return torch.stack([small[k, i : i + side, j : j + side] for k, i, j in places])
