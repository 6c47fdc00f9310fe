"""Problems that others set, drawn anew: those of Castera & Ochs (2025) and of Open-L2O."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import learnmm as lmm

from ..peers.suite import DOUBLE, Case
from .lasso import drawn, objective

Fun = Callable[[Tensor], Tensor]

TEST_SEED = 10_000
"""Of the first test problem; methods that train on a family draw from seeds below."""


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=DOUBLE)


# --- Castera & Ochs -----------------------------------------------------------------------------


def _ridge(a: Tensor, b: Tensor, weight: float) -> tuple[Fun, float]:
    """Objective, and the largest eigenvalue of its Hessian."""

    def fun(x: Tensor) -> Tensor:
        return ((x @ a.mT - b).square().sum(1) + weight * x.square().sum(1)) / 2

    return fun, float(torch.linalg.eigvalsh(a.mT @ a)[-1]) + weight


def _logistic(a: Tensor, b: Tensor) -> tuple[Fun, float]:
    """Objective, and the bound on its curvature by which their gradient descent steps."""

    def fun(x: Tensor) -> Tensor:
        return F.softplus(-b * (x @ a.mT)).sum(1) + x.square().sum(1) / (2 * len(b))

    return fun, float(a.square().sum()) / 2 + 1 / len(b)


def diabetes(_: torch.Generator) -> tuple[Fun, float, int]:
    """Ridge regression on the data set of scikit-learn, ``lambda = 0.1``."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    return *_ridge(torch.from_numpy(data.data), torch.from_numpy(data.target), 0.1), 10


def housing(generator: torch.Generator) -> tuple[Fun, float, int]:
    """Ridge regression with the size, means and deviations of the Californian data set."""
    mean = [3.87, 28.6, 5.43, 1.10, 1425.0, 3.07, 35.6, -119.6]
    deviation = [1.90, 12.6, 2.47, 0.47, 1132.0, 10.4, 2.14, 2.00]
    z = _normal(generator, 20_640, 8)
    z[:, 7] = -0.92 * z[:, 6] + math.sqrt(1 - 0.92**2) * z[:, 7]
    a = torch.tensor(mean, dtype=DOUBLE) + z * torch.tensor(deviation, dtype=DOUBLE)
    b = 2.07 + 0.8 * z[:, 0] + 0.8 * _normal(generator, 20_640)
    return *_ridge(a, b, 5e2), 8


def sparse(generator: torch.Generator) -> tuple[Fun, float, int]:
    """Logistic regression on 300 rare binary features, as of w8a, and a tenth of its rows."""
    rates = 0.08 * torch.rand(300, generator=generator, dtype=DOUBLE)
    a = (torch.rand(4975, 300, generator=generator, dtype=DOUBLE) < rates).to(DOUBLE)
    score = a @ _normal(generator, 300) - 4
    return *_logistic(a, torch.sign(score + _normal(generator, 4975))), 300


def categories(generator: torch.Generator) -> tuple[Fun, float, int]:
    """Logistic regression on 22 categories in 112 binary features, as of mushrooms."""
    sizes = [5] * 20 + [6] * 2
    columns = [F.one_hot(torch.randint(size, (8124,), generator=generator), size) for size in sizes]
    a = torch.cat(columns, 1).to(DOUBLE)
    return *_logistic(a, torch.sign(a @ _normal(generator, 112))), 112


def clusters(generator: torch.Generator) -> tuple[Fun, float, int]:
    """Logistic regression on two clusters, drawn as theirs."""
    b = torch.ones(50, dtype=DOUBLE)
    b[25:] = -1
    a = _normal(generator, 50, 10) / math.sqrt(10)
    a[:25] += _normal(generator, 1) - 0.1
    a[25:] += _normal(generator, 1) + 0.1
    a[:, 0] = 1
    return *_logistic(a, b), 10


FIVE = {
    "ridge, diabetes": diabetes,
    "ridge, as Californian housing": housing,
    "logistic, as w8a": sparse,
    "logistic, as mushrooms": categories,
    "logistic, two clusters": clusters,
}


def five(name: str, seed: int) -> tuple[Case, float, Tensor]:
    """A problem of Castera & Ochs, the curvature by which it is descended, and ``x_{-1}``.

    As theirs, a run starts one short gradient step away from a random point.
    """
    generator = _generator(TEST_SEED + seed)
    fun, curvature, n = FIVE[name](generator)
    before = _normal(generator, 1, n)
    if name.startswith("ridge"):
        before = before * torch.rand(1, generator=generator, dtype=DOUBLE)
    gradient = torch.func.grad(lambda x: fun(x).sum())(before)
    return _case(f"{name}/{seed}", fun, before - gradient / (2 * curvature)), curvature, before


# --- Open-L2O -----------------------------------------------------------------------------------


def lasso(m: int, n: int, seed: int) -> Case:
    """``|A x - b|^2 / 2 + 0.005 |x|_1``, smoothed; unit columns, and a sparse truth."""
    a, b, x0 = drawn(_generator(TEST_SEED + seed), m, n)
    return _case(f"lasso {m} x {n}/{seed}", objective(a, b), x0[None])


def rastrigin(n: int, seed: int) -> Case:
    """``|A x - b|^2 / 2 - 10 <c, cos(2 pi x)> + 10 n``, with many local minima.

    The optimum is the lowest of 256 solves from other starts.
    """
    generator = _generator(TEST_SEED + seed)
    a, b, c = _normal(generator, n, n), _normal(generator, n), _normal(generator, n)

    def fun(x: Tensor) -> Tensor:
        waves = (torch.cos(2 * math.pi * x) * c).sum(1)
        return (x @ a.mT - b).square().sum(1) / 2 - 10 * waves + 10 * n

    x0, elsewhere = _normal(generator, 1, n), 3 * _normal(generator, 256, n)
    least = lmm.minimize(fun, torch.cat([x0, elsewhere])).fun.min()
    return _case(f"rastrigin {n}/{seed}", fun, x0, least[None])


def _case(name: str, fun: Fun, x0: Tensor, optimum: Tensor | None = None) -> Case:
    return Case(name, fun, x0, optimum, None, lambda _: fun)


def open_l2o(tests: int) -> dict[str, Callable[[], Case]]:
    """Test problems of both families, each in two sizes."""
    cases: dict[str, Callable[[], Case]] = {}
    for seed in range(tests):
        for m, n in ((5, 10), (25, 50)):
            cases[f"lasso {m} x {n}/{seed}"] = lambda m=m, n=n, s=seed: lasso(m, n, s)
        for n in (2, 10):
            cases[f"rastrigin {n}/{seed}"] = lambda n=n, s=seed: rastrigin(n, s)
    return cases
