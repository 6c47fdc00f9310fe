"""Multiclass regression on small real data sets, along a range of ridges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from learnmm import Atom, Quadratic, Softmax
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.bundled import datasets
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.newton import newton
from learnmm_problems.shared import common, shared_by

NEWTON_STEPS = 20


@dataclass(frozen=True)
class SoftmaxRegressionProblem(CheckedProblem):
    """``f(X) = sum_i [log sum_k exp(<a_i, x_k>) - <a_i, x_{k(i)}>] + ridge/2 |X|^2``.

    Rows ``a_i`` and classes ``k(i)`` come from scikit-learn (the extra ``toy``), features divided
    by their root mean square and a constant one added. The generator draws which rows, the same
    for the whole batch, and a ridge per problem, evenly on a logarithmic scale between limits: a
    batch is a choice of regularization. Strictly convex: the minimizer is unique, and is computed
    by Newton's method in float64. Unknowns are ``(features + 1, classes)``.

    Parameters
    ----------
    data : {"iris", "wine", "digits"}
        150 flowers with 4 features in 3 classes (Fisher 1936), 178 wines with 13 in 3 (Forina
        1988), or 1797 images of 64 pixels in 10.
    samples : int
        Rows to draw, at most those there are.
    ridges : tuple of float
        Least and largest ridge.
    operator_seed : int or None
        Of the choice of rows, which then are those of every batch. None: each has its own.
    solved : bool
        Whether to compute minimizer and optimum.
    """

    name: ClassVar[str] = "softmax-regression"
    data: Literal["iris", "wine", "digits"] = "iris"
    samples: int = 100
    ridges: tuple[float, float] = (0.01, 1.0)
    operator_seed: int | None = None
    solved: bool = True

    @property
    def shares(self) -> str:
        """The rows, if they have a seed."""
        return shared_by(self.operator_seed, "data")

    def shifted(self) -> Mapping[str, Problem]:
        """Smaller ridges; fewer rows."""
        least, _ = self.ridges
        return {
            "conditioning": replace(self, ridges=(least / 10, least)),
            "size": replace(self, samples=self.samples // 2),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw rows and ridges; start at zero.

        Raises
        ------
        ImportError
            Without scikit-learn.
        """
        features, labels = load(self.data)
        choice = common(self.operator_seed, generator)
        rows = torch.randperm(len(features), generator=choice)[: self.samples]
        features, targets = features[rows], torch.nn.functional.one_hot(labels)[rows].double()
        least, largest = self.ridges
        chance = torch.rand(batch, 1, 1, generator=generator, dtype=torch.float64)
        ridge = largest * (least / largest) ** chance
        shape = (batch, features.shape[1], targets.shape[1])
        minimizer = solution(features, targets, ridge) if self.solved else None

        def objective(dtype: torch.dtype) -> Atom:
            fit = Softmax(targets.expand(batch, -1, -1).to(dtype)) @ MatrixMap(features.to(dtype))
            return fit + Quadratic(torch.zeros(shape, dtype=dtype), ridge.to(dtype))

        largest = float(torch.linalg.matrix_norm(features, 2)) ** 2 / 2
        return Instance(
            objective=objective(dtype),
            x0=torch.zeros(shape, dtype=dtype),
            optimum=None if minimizer is None else objective(torch.float64)(minimizer).to(dtype),
            minimizer=None if minimizer is None else minimizer.to(dtype),
            data=ridge.log()[:, :, 0].to(dtype),
            facts={"convex": True, "condition_bound": largest / float(ridge.min()) + 1},
        )


def load(data: str) -> tuple[Tensor, Tensor]:
    """Features ``(rows, p)`` with a constant one last, float64, and class numbers ``(rows,)``."""
    bundled = datasets(SoftmaxRegressionProblem.name)
    loaders = {
        "iris": bundled.load_iris,
        "wine": bundled.load_wine,
        "digits": bundled.load_digits,
    }
    if data not in loaders:
        raise ValueError(f"data must be one of {tuple(loaders)}, got {data!r}")
    values, labels = loaders[data](return_X_y=True)
    features = torch.from_numpy(values).double()
    size = features.square().mean(0).sqrt()
    features = features / torch.where(size > 0, size, 1.0)  # some pixels are never used
    return torch.cat([features, torch.ones(len(features), 1).double()], 1), torch.from_numpy(labels)


def solution(features: Tensor, targets: Tensor, ridge: Tensor) -> Tensor:
    """Minimizer by Newton's method, ``(B, p, K)``.

    Parameters
    ----------
    features, targets : Tensor
        ``(rows, p)`` and ``(rows, K)``.
    ridge : Tensor
        ``(B, 1, 1)``.
    """
    p, classes = features.shape[1], targets.shape[1]

    def value(x: Tensor) -> Tensor:
        logits = features @ x
        loss = (logits.logsumexp(-1) - (targets * logits).sum(-1)).sum(-1)
        return loss + (ridge / 2 * x * x).sum((1, 2))

    def step_at(x: Tensor) -> Tensor:
        chance = (features @ x).softmax(-1)
        gradient = features.mT @ (chance - targets) + ridge * x
        weight = chance[..., None] * (eye - chance[..., None, :])  # (B, rows, K, K)
        pulled = torch.einsum("mi,bmkl,mj->bikjl", features, weight, features)
        hessian = pulled.reshape(len(x), p * classes, p * classes)
        hessian = hessian + ridge * torch.eye(p * classes, dtype=x.dtype)
        step: Tensor = torch.linalg.solve(hessian, gradient.reshape(len(x), -1))
        return step.reshape(x.shape)

    eye = torch.eye(classes, dtype=ridge.dtype)
    return newton(ridge.new_zeros(len(ridge), p, classes), value, step_at, NEWTON_STEPS)
