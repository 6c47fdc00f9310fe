"""One handwritten digit against the others: logistic regression on real images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from learnmm.registry import Instance, Problem
from learnmm_problems.bundled import digits
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.logistic_regression import ridge_instance
from learnmm_problems.shared import common, shared_by


@dataclass(frozen=True)
class LogisticDigitsProblem(CheckedProblem):
    """``f(x) = sum_i log(1 + exp(-y_i <a_i, x>)) + ridge/2 |x|^2``, ``y_i = 1`` for one digit.

    Rows ``a_i`` are images of scikit-learn's digits (the extra ``toy``), 64 pixels in [0, 1] and a
    constant one. The generator draws which images, the same for the whole batch, and for each
    problem the digit that it tells from the others, among those drawn. Strictly convex: the
    minimizer is unique, and is computed by Newton's method in float64.

    Parameters
    ----------
    samples : int
        Images to draw.
    ridge : float
        Positive.
    operator_seed : int or None
        Of the choice of images, which then are those of every batch. None: each has its own.
    flipped : float
        Share of the labels that are wrong, each problem's own.
    solved : bool
        Whether to compute minimizer and optimum.
    """

    name: ClassVar[str] = "logistic-digits"
    samples: int = 100
    ridge: float = 0.1
    operator_seed: int | None = None
    flipped: float = 0.0
    solved: bool = True

    @property
    def shares(self) -> str:
        """The images, if they have a seed."""
        return shared_by(self.operator_seed, "data")

    def shifted(self) -> Mapping[str, Problem]:
        """Less of a ridge; more wrong labels."""
        return {
            "conditioning": replace(self, ridge=self.ridge / 5),
            "data": replace(self, flipped=self.flipped + 0.1),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw images and digits; start at zero.

        Raises
        ------
        ImportError
            Without scikit-learn.
        """
        pixels, labels = digits(self.name)
        choice = common(self.operator_seed, generator)
        rows = torch.randperm(len(pixels), generator=choice)[: self.samples]
        features = torch.cat([pixels[rows], torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        present = labels[rows].unique()
        one = present[torch.randint(len(present), (batch, 1), generator=generator)]
        signs = torch.where(labels[rows] == one, 1.0, -1.0).double()
        if self.flipped:
            chance = torch.rand(signs.shape, generator=generator, dtype=torch.float64)
            signs = torch.where(chance < self.flipped, -signs, signs)
        return ridge_instance(features, signs, self.ridge, dtype, self.solved, digit=one[:, 0])
