"""Small problems in the manner of CUTEst, written from their public definitions.

Fits are those of the NIST reference sets for nonlinear regression (public domain), with the
certified sums of squares; the rest is from Buckley (1989) and the collections of Toint as cited in
CUTEst (Gould, Orban & Toint 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from learnmm_problems.mgh_function import count, data


@dataclass(frozen=True)
class Small:
    """One problem.

    Attributes
    ----------
    fun : callable
        ``(B, n) -> (B,)``.
    start : list of float
        Where to begin.
    least : float
        Least value known.
    """

    fun: Callable[[Tensor], Tensor]
    start: list[float]
    least: float = 0.0

    def x0(self) -> Tensor:
        """The start as a batch of one, float64."""
        return torch.tensor([self.start], dtype=torch.float64)

    def left(self, value: Tensor) -> float:
        """Share of the gap between the start and the least value that is left."""
        first = float(self.fun(self.x0()))
        return (float(value.reshape(())) - self.least) / (first - self.least)


def fit(model: Callable[..., Tensor], t: str, y: str) -> Callable[[Tensor], Tensor]:
    """Sum of squares of ``model(t, *parameters) - y``."""

    def fun(x: Tensor) -> Tensor:
        return (model(data(x, t), *x.split(1, 1)) - data(x, y)).square().sum(1)

    return fun


def eckerle(t: Tensor, b1: Tensor, b2: Tensor, b3: Tensor) -> Tensor:
    return b1 / b2 * torch.exp(-(((t - b3) / b2) ** 2) / 2)


def rational(t: Tensor, b1: Tensor, b2: Tensor, b3: Tensor, b4: Tensor) -> Tensor:
    return b1 * (t * t + t * b2) / (t * t + t * b3 + b4)


def exponentials(t: Tensor, *b: Tensor) -> Tensor:
    return sum((b[i] * torch.exp(-b[i + 1] * t) for i in (0, 2, 4)), torch.zeros_like(t))


def lanczos(x: Tensor) -> Tensor:
    t = (count(x, 24) - 1) / 20
    exact = [x.new_full((1, 1), v) for v in (0.0951, 1.0, 0.8607, 3.0, 1.5576, 5.0)]
    return (exponentials(t, *x.split(1, 1)) - exponentials(t, *exact)).square().sum(1)


def maratos(x: Tensor) -> Tensor:
    return x[:, 0] + 1e6 * (x.square().sum(1) - 1) ** 2


def hatfield(x: Tensor) -> Tensor:
    x1, x2, x3 = x.split(1, 1)
    powers = torch.cat([x3, x3**2, x3**3], 1)
    return (x1 + x2 * powers - data(x, "0.032 0.056 0.099")).square().sum(1)


def log_hairy(x: Tensor) -> Tensor:
    x1, x2 = x[:, 0], x[:, 1]
    fur = 30 * torch.sin(7 * x1) ** 2 * torch.cos(7 * x2) ** 2
    cups = 100 * (0.01 + (x1 - x2) ** 2).sqrt() + 100 * (0.01 + x1**2).sqrt()
    return torch.log1p((fur + cups) / 100)


def quartic(x: Tensor) -> Tensor:
    return ((x - count(x, x.shape[1])) ** 4).sum(1)


def power(x: Tensor) -> Tensor:
    return (count(x, x.shape[1]) * x * x).sum(1).square()


def variable_dimension(x: Tensor) -> Tensor:
    sloped = (count(x, x.shape[1]) * (x - 1)).sum(1)
    return (x - 1).square().sum(1) + sloped**2 + sloped**4


def engval(x: Tensor) -> Tensor:
    pairs = x[:, :-1] ** 2 + x[:, 1:] ** 2
    return (pairs**2).sum(1) + (3 - 4 * x[:, :-1]).sum(1)


def tridiagonal(x: Tensor) -> Tensor:
    i = count(x, x.shape[1], 2)
    return (x[:, 0] - 1) ** 2 + (i * (2 * x[:, 1:] - x[:, :-1]) ** 2).sum(1)


def cliff(x: Tensor) -> Tensor:
    return ((x[:, 0] - 3) / 100) ** 2 - (x[:, 0] - x[:, 1]) + torch.exp(20 * (x[:, 0] - x[:, 1]))


GROWTH = "16.08 33.83 65.80 97.20 191.55 326.20 386.87 520.53 590.03 651.92 724.93 699.56 689.96 "

PROBLEMS = {
    "eckerle4": Small(
        fit(
            eckerle,
            "400 405 410 415 420 425 430 435 436.5 438 439.5 441 442.5 444 445.5 447 448.5 450 "
            "451.5 453 454.5 456 457.5 459 460.5 462 463.5 465 470 475 480 485 490 495 500",
            "0.0001575 0.0001699 0.0002350 0.0003102 0.0004917 0.0008710 0.0017418 0.0046400 "
            "0.0065895 0.0097302 0.0149002 0.0237310 0.0401683 0.0712559 0.1264458 0.2073413 "
            "0.2902366 0.3445623 0.3698049 0.3668534 0.3106727 0.2078154 0.1164354 0.0616764 "
            "0.0337200 0.0194023 0.0117831 0.0074357 0.0022732 0.0008800 0.0004579 0.0002345 "
            "0.0001586 0.0001143 0.0000710",
        ),
        [1.0, 10.0, 500.0],
        1.4635887487e-3,
    ),
    "boxbod": Small(
        fit(
            lambda t, b1, b2: b1 * (1 - torch.exp(-b2 * t)),
            "1 2 3 5 7 10",
            "109 149 149 191 213 224",
        ),
        [1.0, 1.0],
        1.1680088766e3,
    ),
    "rat42": Small(
        fit(
            lambda t, b1, b2, b3: b1 / (1 + torch.exp(b2 - b3 * t)),
            "9 14 21 28 42 57 63 70 79",
            "8.93 10.80 18.59 22.33 39.35 56.11 61.73 64.62 67.08",
        ),
        [100.0, 1.0, 0.1],
        8.0565229338,
    ),
    "rat43": Small(
        fit(
            lambda t, b1, b2, b3, b4: b1 / (1 + torch.exp(b2 - b3 * t)) ** (1 / b4),
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
            GROWTH + "637.56 717.41",
        ),
        [100.0, 10.0, 1.0, 1.0],
        8.7864049080e3,
    ),
    "mgh09": Small(
        fit(
            rational,
            "4 2 1 0.5 0.25 0.167 0.125 0.1 0.0833 0.0714 0.0625",
            "0.1957 0.1947 0.1735 0.16 0.0844 0.0627 0.0456 0.0342 0.0323 0.0235 0.0246",
        ),
        [0.25, 0.39, 0.415, 0.39],
        3.0750560385e-4,
    ),
    "danwood": Small(
        fit(
            lambda t, b1, b2: b1 * t**b2,
            "1.309 1.471 1.490 1.565 1.611 1.680",
            "2.138 3.421 3.597 4.340 4.882 5.660",
        ),
        [1.0, 5.0],
        4.3173084083e-3,
    ),
    "chwirut2": Small(
        fit(
            lambda t, b1, b2, b3: torch.exp(-b1 * t) / (b2 + b3 * t),
            "0.5 1 1.75 3.75 5.75 0.875 2.25 3.25 5.25 0.75 1.75 2.75 4.75 0.625 1.25 2.25 4.25 "
            "0.5 3 0.75 3 1.5 6 3 6 1.5 3 0.5 2 4 0.75 2 5 0.75 2.25 3.75 5.75 3 0.75 2.5 4 0.75 "
            "2.5 4 0.75 2.5 4 0.5 6 3 0.5 2.75 0.5 1.75",
            "92.9 57.1 31.05 11.5875 8.025 63.6 21.4 14.25 8.475 63.8 26.8 16.4625 7.125 67.3 41 "
            "21.15 8.175 81.5 13.12 59.9 14.62 32.9 5.44 12.56 5.44 32 13.95 75.8 20 10.42 59.5 "
            "21.67 8.55 62 20.2 7.76 3.75 11.81 54.7 23.7 11.55 61.3 17.7 8.74 59.2 16.3 8.62 81 "
            "4.87 14.62 81.7 17.17 81.3 28.9",
        ),
        [0.1, 0.01, 0.02],
        5.1304802941e2,
    ),
    "lanczos1": Small(lanczos, [1.2, 0.3, 5.6, 5.5, 6.5, 7.6]),
    "maratos": Small(maratos, [1.1, 0.1], -1.0),
    "hatfldfl": Small(hatfield, [1.2, -1.2, 0.98], 0.0),
    "log-hairy": Small(log_hairy, [-500.0, -700.0], 0.1823216),
    "quartic": Small(quartic, [2.0] * 100),
    "power": Small(power, [1.0] * 20),
    "vardim": Small(variable_dimension, [1 - i / 20 for i in range(1, 21)]),
    "engval1": Small(engval, [2.0] * 50, 53.81),
    "tridia": Small(tridiagonal, [1.0] * 50),
    "cliff": Small(cliff, [0.0, -1.0], 0.1997866137),
}
