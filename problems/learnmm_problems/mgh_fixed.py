"""Functions 1 to 19 of the Moré-Garbow-Hillstrom set, which have just one size.

Residuals take a batch ``(B, n)`` and give ``(B, m)``; equations are numbered as in the paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from learnmm_problems.mgh_function import Function, columns, count, data, fixed


def rosenbrock(x: Tensor) -> Tensor:
    """(1) Rosenbrock."""
    x1, x2 = columns(x)
    return torch.cat([10 * (x2 - x1**2), 1 - x1], 1)


def freudenstein_roth(x: Tensor) -> Tensor:
    """(2) Freudenstein and Roth."""
    x1, x2 = columns(x)
    first = -13 + x1 + ((5 - x2) * x2 - 2) * x2
    return torch.cat([first, -29 + x1 + ((x2 + 1) * x2 - 14) * x2], 1)


def powell_badly_scaled(x: Tensor) -> Tensor:
    """(3) Powell, badly scaled."""
    x1, x2 = columns(x)
    return torch.cat([1e4 * x1 * x2 - 1, torch.exp(-x1) + torch.exp(-x2) - 1.0001], 1)


def brown_badly_scaled(x: Tensor) -> Tensor:
    """(4) Brown, badly scaled."""
    x1, x2 = columns(x)
    return torch.cat([x1 - 1e6, x2 - 2e-6, x1 * x2 - 2], 1)


def beale(x: Tensor) -> Tensor:
    """(5) Beale."""
    x1, x2 = columns(x)
    # Powers one by one: third derivatives of a negative base are NaN where exponents are a tensor.
    return data(x, "1.5 2.25 2.625") - x1 * (1 - torch.cat([x2, x2**2, x2**3], 1))


def jennrich_sampson(x: Tensor) -> Tensor:
    """(6) Jennrich and Sampson, 10 residuals."""
    x1, x2 = columns(x)
    i = count(x, 10)
    return 2 + 2 * i - (torch.exp(i * x1) + torch.exp(i * x2))


def helical_valley(x: Tensor) -> Tensor:
    """(7) Helical valley; the angle jumps where ``x1 = 0`` and ``x2 < 0``."""
    x1, x2, x3 = columns(x)
    below = torch.where((x1 < 0) & (x2 < 0), 1.0, 0.0).to(x.dtype)
    angle = torch.atan2(x2, x1) / (2 * math.pi) + below
    return torch.cat([10 * (x3 - 10 * angle), 10 * (torch.hypot(x1, x2) - 1), x3], 1)


def bard(x: Tensor) -> Tensor:
    """(8) Bard."""
    x1, x2, x3 = columns(x)
    y = data(x, "0.14 0.18 0.22 0.25 0.29 0.32 0.35 0.39 0.37 0.58 0.73 0.96 1.34 2.10 4.39")
    u = count(x, 15)
    v = 16 - u
    return y - (x1 + u / (v * x2 + torch.minimum(u, v) * x3))


def gaussian(x: Tensor) -> Tensor:
    """(9) Gaussian."""
    x1, x2, x3 = columns(x)
    half = "0.0009 0.0044 0.0175 0.0540 0.1295 0.2420 0.3521 "
    y = data(x, half + "0.3989 " + " ".join(reversed(half.split())))
    t = (8 - count(x, 15)) / 2
    return x1 * torch.exp(-x2 * (t - x3) ** 2 / 2) - y


def meyer(x: Tensor) -> Tensor:
    """(10) Meyer."""
    x1, x2, x3 = columns(x)
    y = data(
        x,
        "34780 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872",
    )
    return x1 * torch.exp(x2 / (45 + 5 * count(x, 16) + x3)) - y


def gulf(x: Tensor) -> Tensor:
    """(11) Gulf research and development, 99 residuals; ``y_i - x_2``, where the paper prints
    ``y_i m i x_2``.
    """
    x1, x2, x3 = columns(x)
    t = count(x, 99) / 100
    y = 25 + (-50 * torch.log(t)) ** (2 / 3)
    return torch.exp(-((y - x2).abs() ** x3) / x1) - t


def box(x: Tensor) -> Tensor:
    """(12) Box in three dimensions, 10 residuals."""
    x1, x2, x3 = columns(x)
    t = count(x, 10) / 10
    return torch.exp(-t * x1) - torch.exp(-t * x2) - x3 * (torch.exp(-t) - torch.exp(-10 * t))


def powell_singular(x: Tensor) -> Tensor:
    """(13) Powell, singular."""
    x1, x2, x3, x4 = columns(x)
    first, second = x1 + 10 * x2, math.sqrt(5) * (x3 - x4)
    return torch.cat([first, second, (x2 - 2 * x3) ** 2, math.sqrt(10) * (x1 - x4) ** 2], 1)


def wood(x: Tensor) -> Tensor:
    """(14) Wood."""
    x1, x2, x3, x4 = columns(x)
    return torch.cat(
        [
            10 * (x2 - x1**2),
            1 - x1,
            math.sqrt(90) * (x4 - x3**2),
            1 - x3,
            math.sqrt(10) * (x2 + x4 - 2),
            (x2 - x4) / math.sqrt(10),
        ],
        1,
    )


def kowalik_osborne(x: Tensor) -> Tensor:
    """(15) Kowalik and Osborne."""
    x1, x2, x3, x4 = columns(x)
    y = data(x, "0.1957 0.1947 0.1735 0.1600 0.0844 0.0627 0.0456 0.0342 0.0323 0.0235 0.0246")
    u = data(x, "4 2 1 0.5 0.25 0.167 0.125 0.1 0.0833 0.0714 0.0625")
    return y - x1 * (u**2 + u * x2) / (u**2 + u * x3 + x4)


def brown_dennis(x: Tensor) -> Tensor:
    """(16) Brown and Dennis, 20 residuals."""
    x1, x2, x3, x4 = columns(x)
    t = count(x, 20) / 5
    return (x1 + t * x2 - torch.exp(t)) ** 2 + (x3 + x4 * torch.sin(t) - torch.cos(t)) ** 2


def osborne_1(x: Tensor) -> Tensor:
    """(17) Osborne 1."""
    x1, x2, x3, x4, x5 = columns(x)
    y = data(
        x,
        "0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751 0.718 0.685 0.658 0.628 "
        "0.603 0.580 0.558 0.538 0.522 0.506 0.490 0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 "
        "0.414 0.411 0.406",
    )
    t = 10 * (count(x, 33) - 1)
    return y - (x1 + x2 * torch.exp(-t * x4) + x3 * torch.exp(-t * x5))


def biggs(x: Tensor) -> Tensor:
    """(18) Biggs EXP6, 13 residuals."""
    x1, x2, x3, x4, x5, x6 = columns(x)
    t = count(x, 13) / 10
    y = torch.exp(-t) - 5 * torch.exp(-10 * t) + 3 * torch.exp(-4 * t)
    return x3 * torch.exp(-t * x1) - x4 * torch.exp(-t * x2) + x6 * torch.exp(-t * x5) - y


def osborne_2(x: Tensor) -> Tensor:
    """(19) Osborne 2."""
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 = columns(x)
    y = data(
        x,
        "1.366 1.191 1.112 1.013 0.991 0.885 0.831 0.847 0.786 0.725 0.746 0.679 0.608 0.655 0.616 "
        "0.606 0.602 0.626 0.651 0.724 0.649 0.649 0.694 0.644 0.624 0.661 0.612 0.558 0.533 0.495 "
        "0.500 0.423 0.395 0.375 0.372 0.391 0.396 0.405 0.428 0.429 0.523 0.562 0.607 0.653 0.672 "
        "0.708 0.633 0.668 0.645 0.632 0.591 0.559 0.597 0.625 0.739 0.710 0.729 0.720 0.636 0.581 "
        "0.428 0.292 0.162 0.098 0.054",
    )
    t = (count(x, 65) - 1) / 10
    peaks = x2 * torch.exp(-((t - x9) ** 2) * x6) + x3 * torch.exp(-((t - x10) ** 2) * x7)
    return y - (x1 * torch.exp(-t * x5) + peaks + x4 * torch.exp(-((t - x11) ** 2) * x8))


POWELL = (1.0981593296997979e-05, 9.106146739866686)
OSBORNE_2 = (1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5)

FIXED: tuple[Function, ...] = (
    fixed(1, "rosenbrock", rosenbrock, (-1.2, 1.0), 0.0, (1.0, 1.0)),
    fixed(
        2,
        "freudenstein-roth",
        freudenstein_roth,
        (0.5, -2.0),
        0.0,
        (5.0, 4.0),
        other_minima=(48.98425367,),
    ),
    fixed(3, "powell-badly-scaled", powell_badly_scaled, (0.0, 1.0), 0.0, POWELL),
    fixed(4, "brown-badly-scaled", brown_badly_scaled, (1.0, 1.0), 0.0, (1e6, 2e-6)),
    fixed(5, "beale", beale, (1.0, 1.0), 0.0, (3.0, 0.5)),
    fixed(6, "jennrich-sampson", jennrich_sampson, (0.3, 0.4), 124.3621823),
    fixed(7, "helical-valley", helical_valley, (-1.0, 0.0, 0.0), 0.0, (1.0, 0.0, 0.0)),
    fixed(8, "bard", bard, (1.0, 1.0, 1.0), 8.214877306e-3, other_minima=(17.4286,)),
    fixed(9, "gaussian", gaussian, (0.4, 1.0, 0.0), 1.127932769e-8),
    fixed(10, "meyer", meyer, (0.02, 4000.0, 250.0), 87.94585517),
    fixed(11, "gulf", gulf, (5.0, 2.5, 0.15), 0.0, (50.0, 25.0, 1.5)),
    fixed(12, "box", box, (0.0, 10.0, 20.0), 0.0, (1.0, 10.0, 1.0)),
    fixed(13, "powell-singular", powell_singular, (3.0, -1.0, 0.0, 1.0), 0.0, (0.0,) * 4),
    fixed(14, "wood", wood, (-3.0, -1.0, -3.0, -1.0), 0.0, (1.0,) * 4),
    fixed(
        15,
        "kowalik-osborne",
        kowalik_osborne,
        (0.25, 0.39, 0.415, 0.39),
        3.075056038e-4,
        other_minima=(1.02734e-3,),
    ),
    fixed(16, "brown-dennis", brown_dennis, (25.0, 5.0, -5.0, -1.0), 85822.20162),
    fixed(17, "osborne-1", osborne_1, (0.5, 1.5, -1.0, 0.01, 0.02), 5.464894697e-5),
    fixed(
        18,
        "biggs-exp6",
        biggs,
        (1.0, 2.0, 1.0, 1.0, 1.0, 1.0),
        0.0,
        (1.0, 10.0, 1.0, 5.0, 4.0, 3.0),
        other_minima=(5.65565e-3,),
    ),
    fixed(19, "osborne-2", osborne_2, OSBORNE_2, 4.013773629e-2),
)
"""Functions 1 to 19."""
