"""Training the network of a model on solved instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from learnmm.families.model import FamilyModel, features_of
from learnmm.families.solved import Solved
from learnmm.families.space import coefficients_of

ENOUGH = 1e-5
"""Share of the first gap below which a start need not be better."""


class Lessons(Dataset[dict[str, Tensor]]):
    """Features, solutions and Hessians of solved instances."""

    def __init__(self, model: FamilyModel, solved: Solved) -> None:
        count, known = len(solved.x0), len(solved.hessians)
        told = solved.x0.new_zeros(count, model.sizes.directions)
        told[:known] = coefficients_of(model.space, solved.hessians)
        gap = solved.initial - solved.optimum
        self.parts = {
            "features": features_of(solved.x0, solved.gradient, solved.data),
            "minimizer": solved.minimizer.flatten(1),
            "gap": torch.where(gap > 0, gap, 1.0),
            "coefficients": told,
            "known": (torch.arange(count) < known).double(),
        }

    def __len__(self) -> int:
        """Number of instances."""
        return len(self.parts["gap"])

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        """One of them."""
        return {name: part[i] for name, part in self.parts.items()}


class Pupil(nn.Module):
    """A model as :func:`learnmm.fit` calls it, on a batch of lessons."""

    def __init__(self, model: FamilyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Starts and coefficients."""
        predicted: tuple[Tensor, Tensor] = self.model(batch["features"])
        return predicted


@dataclass(frozen=True)
class Marks:
    """Outer loss: logarithm of the gap of the start, plus the error of the coefficients.

    The gap is that of the quadratic with the mean Hessian, over the gap of the start that was
    given; errors of coefficients are over their variance, all of them together.
    """

    root: Tensor
    variance: Tensor

    def __call__(
        self, predicted: tuple[Tensor, Tensor], batch: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over a batch."""
        start, told = predicted
        off = (start - batch["minimizer"]) @ self.root
        gap = (off.square().sum(1) / (2 * batch["gap"])).clamp(max=1e6)
        starts = (gap + ENOUGH).log().mean()
        if not len(self.variance):
            return starts, {"start": starts.detach()}
        share = (told - batch["coefficients"]).square().sum(1) / self.variance.sum()
        bends = (share * batch["known"]).sum() / batch["known"].sum().clamp(min=1)
        return starts + bends, {"start": starts.detach(), "hessian": bends.detach()}
