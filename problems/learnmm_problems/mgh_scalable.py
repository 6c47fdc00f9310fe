"""Functions 20 to 35 of the Moré-Garbow-Hillstrom set, which come in any size.

Residuals take a batch ``(B, n)`` and give ``(B, m)``; equations are numbered as in the paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from learnmm_problems.mgh_function import Function, Solution, count, repeated

PENALTY = math.sqrt(1e-5)


def watson(x: Tensor) -> Tensor:
    """(20) Watson, 31 residuals."""
    t = (count(x, 29) / 29)[:, None]
    powers = t ** count(x, x.shape[1] - 1, 0)  # t_i^(j - 1)
    slopes = count(x, x.shape[1] - 1) * powers[:, :-1]  # (j - 1) t_i^(j - 2) from j = 2
    fit = x[:, 1:] @ slopes.mT - (x @ powers.mT) ** 2 - 1
    return torch.cat([fit, x[:, :1], x[:, 1:2] - x[:, :1] ** 2 - 1], 1)


def extended_rosenbrock(x: Tensor) -> Tensor:
    """(21) Extended Rosenbrock."""
    odd, even = x[:, 0::2], x[:, 1::2]
    return torch.cat([10 * (even - odd**2), 1 - odd], 1)


def extended_powell(x: Tensor) -> Tensor:
    """(22) Extended Powell singular."""
    a, b, c, d = (x[:, k::4] for k in range(4))
    steep = [(b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2]
    return torch.cat([a + 10 * b, math.sqrt(5) * (c - d), *steep], 1)


def penalty_1(x: Tensor) -> Tensor:
    """(23) Penalty I."""
    return torch.cat([PENALTY * (x - 1), (x * x).sum(1, keepdim=True) - 0.25], 1)


def penalty_2(x: Tensor) -> Tensor:
    """(24) Penalty II."""
    n = x.shape[1]
    i = count(x, n)
    growth = torch.exp(x / 10)
    y = torch.exp(i[1:] / 10) + torch.exp(i[:-1] / 10)
    pairs = PENALTY * (growth[:, 1:] + growth[:, :-1] - y)
    singles = PENALTY * (growth[:, 1:] - math.exp(-0.1))
    last = ((n - i + 1) * x * x).sum(1, keepdim=True) - 1
    return torch.cat([x[:, :1] - 0.2, pairs, singles, last], 1)


def variably_dimensioned(x: Tensor) -> Tensor:
    """(25) Variably dimensioned."""
    off = x - 1
    total = (count(x, x.shape[1]) * off).sum(1, keepdim=True)
    return torch.cat([off, total, total**2], 1)


def trigonometric(x: Tensor) -> Tensor:
    """(26) Trigonometric."""
    below = 1 - torch.cos(x)
    return below.sum(1, keepdim=True) + count(x, x.shape[1]) * below - torch.sin(x)


def brown_almost_linear(x: Tensor) -> Tensor:
    """(27) Brown, almost linear."""
    linear = x + x.sum(1, keepdim=True) - (x.shape[1] + 1)
    return torch.cat([linear[:, :-1], x.prod(1, keepdim=True) - 1], 1)


def discrete_boundary_value(x: Tensor) -> Tensor:
    """(28) Discrete boundary value."""
    n = x.shape[1]
    step = 1 / (n + 1)
    cubes = (x + step * count(x, n) + 1) ** 3
    return 2 * x - _previous(x) - _next(x) + step**2 * cubes / 2


def discrete_integral_equation(x: Tensor) -> Tensor:
    """(29) Discrete integral equation."""
    n = x.shape[1]
    t = count(x, n) / (n + 1)
    cubes = (x + t + 1) ** 3
    below, above = t * cubes, (1 - t) * cubes
    rest = above.sum(1, keepdim=True) - above.cumsum(1)
    return x + ((1 - t) * below.cumsum(1) + t * rest) / (2 * (n + 1))


def broyden_tridiagonal(x: Tensor) -> Tensor:
    """(30) Broyden, tridiagonal."""
    return (3 - 2 * x) * x - _previous(x) - 2 * _next(x) + 1


def broyden_banded(x: Tensor) -> Tensor:
    """(31) Broyden, banded: five below the diagonal and one above."""
    ones = torch.ones(x.shape[1], x.shape[1], dtype=x.dtype, device=x.device)
    band = ones.tril(1).triu(-5).fill_diagonal_(0)
    return x * (2 + 5 * x**2) + 1 - (x * (1 + x)) @ band.mT


def linear_full_rank(x: Tensor) -> Tensor:
    """(32) Linear, full rank, ``m = 2 n``."""
    m = 2 * x.shape[1]
    mean = (2 / m) * x.sum(1, keepdim=True)
    return torch.cat([x - mean - 1, (-mean - 1).expand_as(x)], 1)


def linear_rank_one(x: Tensor) -> Tensor:
    """(33) Linear, rank 1, ``m = 2 n``."""
    n = x.shape[1]
    return count(x, 2 * n) * (count(x, n) * x).sum(1, keepdim=True) - 1


def linear_rank_one_zeros(x: Tensor) -> Tensor:
    """(34) Linear, rank 1 with zero columns and rows, ``m = 2 n``."""
    n = x.shape[1]
    inner = (count(x, n - 1, 2) * x[:, 1:-1]).sum(1, keepdim=True)
    rows = torch.nn.functional.pad(count(x, 2 * n - 2), (1, 1))
    return rows * inner - 1


def chebyquad(x: Tensor) -> Tensor:
    """(35) Chebyquad, ``m = n``: quadrature with equal weights."""
    y = 2 * x - 1  # Chebyshev polynomials of [0, 1]
    before, now = torch.ones_like(x), y
    rows = []
    for i in range(1, x.shape[1] + 1):
        integral = 0.0 if i % 2 else -1 / (i**2 - 1)
        rows.append(now.mean(1) - integral)
        before, now = now, 2 * y * now - before
    return torch.stack(rows, 1)


def _previous(x: Tensor) -> Tensor:
    """``x_{i-1}``, with ``x_0 = 0``."""
    return torch.nn.functional.pad(x[:, :-1], (1, 0))


def _next(x: Tensor) -> Tensor:
    """``x_{i+1}``, with ``x_{n+1} = 0``."""
    return torch.nn.functional.pad(x[:, 1:], (0, 1))


MOST = 10**6
ANY = range(1, MOST)


def _ramp(n: int) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float64)


def _parabola(n: int) -> Tensor:
    t = _ramp(n) / (n + 1)
    return t * (t - 1)


def _zero(n: int) -> float:
    return 0.0


def _shortest(weights: Tensor, total: float) -> Tensor:
    """The shortest ``x`` with ``<weights, x> = total``."""
    return total * weights / weights.square().sum()


def _inner(n: int) -> Tensor:
    weights = _ramp(n)
    weights[0] = weights[-1] = 0
    return weights


def _chebyquad_least(n: int) -> float | None:
    return 3.516873725e-3 if n == 8 else 0.0 if n <= 7 or n == 9 else None


SCALABLE: tuple[Function, ...] = (
    Function(
        20,
        "watson",
        watson,
        repeated(0.0),
        6,
        range(2, 32),
        Solution({6: 2.287670053e-3, 9: 1.399760138e-6, 12: 4.722381e-10}.get),
    ),
    Function(
        21,
        "extended-rosenbrock",
        extended_rosenbrock,
        repeated(-1.2, 1.0),
        10,
        range(2, MOST, 2),
        Solution(_zero, repeated(1.0)),
    ),
    Function(
        22,
        "extended-powell",
        extended_powell,
        repeated(3.0, -1.0, 0.0, 1.0),
        8,
        range(4, MOST, 4),
        Solution(_zero, repeated(0.0)),
    ),
    Function(
        23,
        "penalty-1",
        penalty_1,
        _ramp,
        10,
        ANY,
        Solution({4: 2.249977500e-5, 10: 7.087651467e-5}.get),
    ),
    Function(
        24,
        "penalty-2",
        penalty_2,
        repeated(0.5),
        10,
        ANY,
        Solution({4: 9.376293007e-6, 10: 2.936605374e-4}.get),
    ),
    Function(
        25,
        "variably-dimensioned",
        variably_dimensioned,
        lambda n: 1 - _ramp(n) / n,
        10,
        ANY,
        Solution(_zero, repeated(1.0)),
    ),
    Function(
        26,
        "trigonometric",
        trigonometric,
        lambda n: torch.full((n,), 1 / n, dtype=torch.float64),
        10,
        ANY,
        Solution(_zero, repeated(0.0)),
        {"other_minima": (2.79506e-5,)},
    ),
    Function(
        27,
        "brown-almost-linear",
        brown_almost_linear,
        repeated(0.5),
        10,
        ANY,
        Solution(_zero, repeated(1.0)),
        {"other_minima": (1.0,)},
    ),
    Function(
        28, "discrete-boundary-value", discrete_boundary_value, _parabola, 10, ANY, Solution(_zero)
    ),
    Function(
        29,
        "discrete-integral-equation",
        discrete_integral_equation,
        _parabola,
        10,
        ANY,
        Solution(_zero),
    ),
    Function(
        30, "broyden-tridiagonal", broyden_tridiagonal, repeated(-1.0), 10, ANY, Solution(_zero)
    ),
    Function(31, "broyden-banded", broyden_banded, repeated(-1.0), 10, ANY, Solution(_zero)),
    Function(
        32,
        "linear-full-rank",
        linear_full_rank,
        repeated(1.0),
        5,
        ANY,
        Solution(float, repeated(-1.0)),
        {"convex": True},
    ),
    Function(
        33,
        "linear-rank-one",
        linear_rank_one,
        repeated(1.0),
        5,
        ANY,
        Solution(
            lambda n: n * (2 * n - 1) / (4 * n + 1), lambda n: _shortest(_ramp(n), 3 / (4 * n + 1))
        ),
        {"convex": True},
    ),
    Function(
        34,
        "linear-rank-one-zeros",
        linear_rank_one_zeros,
        repeated(1.0),
        5,
        range(3, MOST),
        Solution(
            lambda n: (2 * n**2 + 3 * n - 3) / (4 * n - 3),
            lambda n: _shortest(_inner(n), 3 / (4 * n - 3)),
        ),
        {"convex": True},
    ),
    Function(
        35, "chebyquad", chebyquad, lambda n: _ramp(n) / (n + 1), 8, ANY, Solution(_chebyquad_least)
    ),
)
"""Functions 20 to 35, at their standard sizes unless others are asked for."""
