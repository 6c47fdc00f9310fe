"""Logistic regression with a ridge, so that the optimum exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from learnmm import Atom, Logistic, Quadratic
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.newton import newton
from learnmm_problems.shared import common, shared_by

NEWTON_STEPS = 50


@dataclass(frozen=True)
class LogisticRegressionProblem(CheckedProblem):
    """``f(x) = sum_i log(1 + exp(-y_i <a_i, x>)) + ridge/2 |x|^2`` with labels in {-1, +1}.

    Features are Gaussian and shared by the batch; labels follow each problem's own weights
    through the logistic model, so classes overlap. Strictly convex: the minimizer is unique, and
    is computed by Newton's method in float64.

    Parameters
    ----------
    samples, unknowns : int
        Rows ``a_i`` and length of ``x``.
    ridge : float
        Positive.
    condition : float
        Largest over smallest scale of the features, spaced evenly on a logarithmic scale.
    operator_seed : int or None
        Of the features, which then are those of every batch. None: each batch has its own.
    size : float
        Of the true weights: the larger, the less classes overlap.
    solved : bool
        Whether to compute minimizer and optimum.
    """

    name: ClassVar[str] = "logistic-regression"
    samples: int = 40
    unknowns: int = 8
    ridge: float = 0.1
    condition: float = 1.0
    operator_seed: int | None = None
    size: float = 1.0
    solved: bool = True

    @property
    def shares(self) -> str:
        """The features, if they have a seed."""
        return shared_by(self.operator_seed, "operator")

    def shifted(self) -> Mapping[str, Problem]:
        """Less of a ridge; classes that overlap less."""
        return {
            "conditioning": replace(self, ridge=self.ridge / 5),
            "data": replace(self, size=3 * self.size),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw features, true weights and labels; start at zero."""
        m, n = self.samples, self.unknowns
        operator = common(self.operator_seed, generator)
        features = torch.randn(m, n, generator=operator, dtype=torch.float64)
        features = features * self.condition ** -torch.linspace(0, 1, n, dtype=torch.float64)
        weights = self.size * torch.randn(batch, n, generator=generator, dtype=torch.float64)
        chance = torch.rand(batch, m, generator=generator, dtype=torch.float64)
        labels = torch.where(chance < torch.sigmoid(weights @ features.mT), 1.0, -1.0).double()
        return ridge_instance(features, labels, self.ridge, dtype, self.solved)


def ridge_instance(
    features: Tensor,
    labels: Tensor,
    ridge: float,
    dtype: torch.dtype,
    solved: bool = True,
    **facts: Any,
) -> Instance:
    """Logistic regressions with a ridge that share their features; start at zero.

    Parameters
    ----------
    features : Tensor, shape (m, n)
        Rows ``a_i``, float64.
    labels : Tensor, shape (B, m)
        -1 or 1, float64.
    ridge : float
        Positive.
    dtype : torch.dtype
        Of the instance.
    solved : bool
        Whether to compute minimizer and optimum.
    **facts
        To state besides.
    """
    shape = (len(labels), features.shape[1])
    minimizer = solution(features, labels, ridge) if solved else None

    def objective(dtype: torch.dtype) -> Atom:
        square = Quadratic(torch.zeros(shape, dtype=dtype), ridge)
        return Logistic(labels.to(dtype)) @ MatrixMap(features.to(dtype)) + square

    largest = float(torch.linalg.matrix_norm(features, 2)) ** 2 / 4
    return Instance(
        objective=objective(dtype),
        x0=torch.zeros(shape, dtype=dtype),
        optimum=None if minimizer is None else objective(torch.float64)(minimizer).to(dtype),
        minimizer=None if minimizer is None else minimizer.to(dtype),
        facts={"condition_bound": largest / ridge + 1, "convex": True, **facts},
    )


def solution(features: Tensor, labels: Tensor, ridge: float) -> Tensor:
    """Minimizer by Newton's method, ``(B, n)``."""

    def value(x: Tensor) -> Tensor:
        margins = labels * (x @ features.mT)
        return torch.nn.functional.softplus(-margins).sum(1) + ridge / 2 * (x * x).sum(1)

    def step_at(x: Tensor) -> Tensor:
        wrong = torch.sigmoid(-labels * (x @ features.mT))
        gradient = -(labels * wrong) @ features + ridge * x
        weight = wrong * (1 - wrong)
        hessian = torch.einsum("bm,mi,mj->bij", weight, features, features) + ridge * eye
        step: Tensor = torch.linalg.solve(hessian, gradient)
        return step

    eye = torch.eye(features.shape[1], dtype=labels.dtype)
    start = labels.new_zeros(labels.shape[0], features.shape[1])
    return newton(start, value, step_at, NEWTON_STEPS)
