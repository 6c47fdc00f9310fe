"""One handwritten digit against the others: logistic regression on real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from learnmm.registry import Instance, Problem
from learnmm_problems.bundled import digits
from learnmm_problems.logistic_regression import ridge_instance


@dataclass(frozen=True)
class LogisticDigitsProblem(Problem):
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
    """

    name: ClassVar[str] = "logistic-digits"
    samples: int = 100
    ridge: float = 0.1

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw images and digits; start at zero.

        Raises
        ------
        ImportError
            Without scikit-learn.
        """
        pixels, labels = digits(self.name)
        rows = torch.randperm(len(pixels), generator=generator)[: self.samples]
        features = torch.cat([pixels[rows], torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        present = labels[rows].unique()
        one = present[torch.randint(len(present), (batch, 1), generator=generator)]
        signs = torch.where(labels[rows] == one, 1.0, -1.0).double()
        return ridge_instance(features, signs, self.ridge, dtype, digit=one[:, 0])
