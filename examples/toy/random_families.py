"""Thirteen families of random problems that a learned quasi-Newton method is trained on.

Each is ``family(draw, batch, n) -> (fun, x0)`` for a batch of problems of about ``n`` unknowns, in
float64: another spectrum, another matrix, other data for every problem. None of them is a problem
of a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

DOUBLE = torch.float64

Fun = Callable[[Tensor], Tensor]


class Draw:
    """Random numbers of a seed."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(*shape, generator=self._generator, dtype=DOUBLE)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform between two numbers."""
        return low + (high - low) * torch.rand(*shape, generator=self._generator, dtype=DOUBLE)

    def power(self, low: float, high: float, *shape: int) -> Tensor:
        """Ten to a uniform power."""
        return 10 ** self.uniform(low, high, *shape)

    def classes(self, count: int, *shape: int) -> Tensor:
        """Integers below a count."""
        return torch.randint(count, shape, generator=self._generator)

    def rotation(self, batch: int, n: int) -> Tensor:
        """Orthogonal matrices."""
        return torch.linalg.qr(self.normal(batch, n, n))[0]

    def scales(self, batch: int, n: int, decades: float) -> Tensor:
        """Scales of unknowns that spread over up to so many decades, another number each."""
        return 10 ** (self.uniform(0, decades, batch, 1) * self.uniform(-0.5, 0.5, batch, n))


Family = Callable[[Draw, int, int], tuple[Fun, Tensor]]


def times(a: Tensor, x: Tensor) -> Tensor:
    """A matrix per problem, times its vector."""
    return (a @ x[..., None]).squeeze(-1)


def quadratics(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Spectra of up to five decades, with many small or many large eigenvalues."""
    decades = draw.uniform(0.5, 5, batch, 1)
    spectrum = 10 ** (-decades * draw.uniform(0, 1, batch, n) ** draw.uniform(0.5, 2, batch, 1))
    a = spectrum.sqrt()[:, :, None] * draw.rotation(batch, n)
    return lambda x: times(a, x).square().sum(1) / 2, draw.normal(batch, n)


def logistic(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Logistic regression with features that are correlated and badly scaled."""
    a = draw.normal(batch, 4 * n, n) @ (draw.normal(batch, n, n) / n**0.5)
    a = a * draw.scales(batch, n, 2)[:, None]
    y = torch.sign(times(a, draw.normal(batch, n)) + draw.normal(batch, 4 * n))
    ridge = draw.power(-4, -1, batch)

    def fun(x: Tensor) -> Tensor:
        return F.softplus(-y * times(a, x)).mean(1) + ridge / 2 * x.square().sum(1)

    return fun, draw.normal(batch, n)


def softmax(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Three classes, drawn at random."""
    k, p = 3, max(2, n // 3)
    a = draw.normal(batch, 4 * p, p) * draw.scales(batch, p, 1.5)[:, None]
    y = draw.classes(k, batch, 4 * p)[..., None]
    ridge = draw.power(-4, -1, batch)

    def fun(x: Tensor) -> Tensor:
        z = a @ x.reshape(len(x), p, k)
        loss = z.logsumexp(-1) - z.gather(-1, y).squeeze(-1)
        return loss.mean(1) + ridge / 2 * x.square().sum(1)

    return fun, 0.5 * draw.normal(batch, p * k)


def robust(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Regression with outliers, and a loss that grows linearly from some scale on."""
    m = 3 * n
    a = draw.normal(batch, m, n) * draw.scales(batch, n, 2)[:, None]
    y = times(a, draw.normal(batch, n)) + 0.3 * draw.normal(batch, m)
    y = y + (draw.uniform(0, 1, batch, m) < 0.1) * 5 * draw.normal(batch, m)
    scale = draw.power(-1, 0.5, batch, 1)

    def fun(x: Tensor) -> Tensor:
        return (((times(a, x) - y) / scale).square() + 1).sqrt().mean(1)

    return fun, draw.normal(batch, n)


def exponents(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """A smoothed maximum of affine functions."""
    a = draw.normal(batch, 4 * n, n) * draw.scales(batch, n, 1.5)[:, None]
    b, scale = draw.normal(batch, 4 * n), draw.power(-0.7, 0.5, batch, 1)

    def fun(x: Tensor) -> Tensor:
        smooth = scale[:, 0] * ((times(a, x) + b) / scale).logsumexp(1)
        return smooth + 1e-3 * x.square().sum(1)

    return fun, draw.normal(batch, n)


def network(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Regression of what a network with one hidden layer says, with another one."""
    h, m = max(2, n // 5), 60
    inputs = draw.uniform(-2, 2, batch, m, 3)

    def outputs(x: Tensor) -> Tensor:
        weights, bias, leave = x[:, : 3 * h], x[:, 3 * h : 4 * h], x[:, 4 * h :]
        return times(torch.tanh(inputs @ weights.reshape(-1, 3, h) + bias[:, None]), leave)

    y = outputs(1.5 * draw.normal(batch, 5 * h)) + 0.1 * draw.normal(batch, m)
    ridge = draw.power(-4, -2, batch)
    return (
        lambda x: (outputs(x) - y).square().mean(1) + ridge * x.square().sum(1),
        0.7 * draw.normal(batch, 5 * h),
    )


def valleys(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Chains of curved valleys, in any direction."""
    q, steep = draw.rotation(batch, n), draw.power(0.5, 2.5, batch, 1)
    bend = draw.uniform(0.3, 1.2, batch, 1)

    def fun(x: Tensor) -> Tensor:
        z = times(q, x)
        across = z[:, 1:] - bend * z[:, :-1].square()
        return (steep * across.square() + (1 - z[:, :-1]).square()).sum(1)

    return fun, draw.normal(batch, n)


def polynomials(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Least squares of residuals that are quadratic, with and without a remainder."""
    m = n + max(1, n // 2)
    a = draw.normal(batch, m, n) * draw.scales(batch, n, 1)[:, None]
    b, bend = draw.normal(batch, m, n) / n**0.5, draw.uniform(0.02, 0.6, batch, 1)
    solution = draw.normal(batch, n)

    def model(x: Tensor) -> Tensor:
        return times(a, x) + bend * times(b, x).square()

    y = model(solution) + draw.power(-3, -0.5, batch, 1) * draw.normal(batch, m)
    return lambda x: (model(x) - y).square().sum(1), solution + draw.normal(batch, n)


def decays(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Sums of exponentials, fitted to 30 samples."""
    k, t = max(1, n // 2), torch.linspace(0, 3, 30, dtype=DOUBLE)

    def model(x: Tensor) -> Tensor:
        size, rate = x[:, :k, None], x[:, k:, None].clamp(-5)
        return (size * torch.exp(-rate * t)).sum(1)

    sizes = draw.uniform(0.5, 3, batch, k)
    rates = torch.arange(1, k + 1, dtype=DOUBLE) * draw.uniform(0.5, 1.5, batch, k)
    solution = torch.cat([sizes, rates], 1)
    y = model(solution) + draw.power(-4, -2, batch, 1) * draw.normal(batch, 30)
    x0 = solution * draw.uniform(0.6, 1.5, batch, 2 * k)
    return lambda x: (model(x) - y).square().sum(1), x0


def factors(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """A noisy square matrix of rank two, factorised."""
    p = max(3, n // 4)

    def product(x: Tensor) -> Tensor:
        both = x.reshape(len(x), 2, p, 2)
        return both[:, 0] @ both[:, 1].mT

    y = product(draw.normal(batch, 4 * p)) + 0.1 * draw.normal(batch, p, p)
    return (
        lambda x: (product(x) - y).square().sum((1, 2)) + 1e-2 * x.square().sum(1),
        draw.normal(batch, 4 * p),
    )


def variation(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Blurred steps, restored under a smoothed total variation."""
    place, width = torch.arange(n, dtype=DOUBLE), draw.uniform(0.5, 2.5, batch, 1, 1)
    blur = torch.exp(-((place[:, None] - place) / width).square() / 2)
    blur = blur / blur.sum(-1, keepdim=True)
    jumps = draw.normal(batch, n) * (draw.uniform(0, 1, batch, n) < 0.2)
    y = times(blur, jumps.cumsum(1)) + 0.05 * draw.normal(batch, n)
    weight, scale = draw.power(-3, -1, batch, 1), draw.power(-2, -0.5, batch, 1)

    def fun(x: Tensor) -> Tensor:
        steps = scale * ((x.diff(dim=1) / scale).square() + 1).sqrt()
        return (times(blur, x) - y).square().sum(1) / 2 + (weight * steps).sum(1)

    return fun, torch.zeros(batch, n, dtype=DOUBLE)


def quartics(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Squares and fourth powers of linear forms: hardly curved at the minimum, along some."""
    a = draw.rotation(batch, n) * draw.scales(batch, n, 2)[..., None]
    solution, k = draw.normal(batch, n), n // 2

    def fun(x: Tensor) -> Tensor:
        z = times(a, x - solution)
        squares = z[:, :k].square().sum(1) + 10 * z.diff(dim=1).square().sum(1)
        return squares + z[:, k:].pow(4).sum(1)

    return fun, solution + 2 * draw.normal(batch, n)


def angles(draw: Draw, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Least squares of sines and cosines."""
    a, solution = draw.normal(batch, 2 * n, n) / n**0.5, 0.7 * draw.normal(batch, n)
    weights = draw.scales(batch, 4 * n, 1.5)

    def model(x: Tensor) -> Tensor:
        z = times(a, x)
        return weights * torch.cat([z.sin(), z.cos()], 1)

    y = model(solution)
    return (
        lambda x: (model(x) - y).square().sum(1) + 1e-3 * x.square().sum(1),
        solution + draw.normal(batch, n) / 2,
    )


FAMILIES: dict[Family, tuple[int, ...]] = {
    quadratics: (4, 16, 60),
    logistic: (5, 15, 40),
    softmax: (9, 30),
    robust: (4, 12, 40),
    exponents: (4, 15, 40),
    network: (15, 35),
    valleys: (2, 4, 10, 30),
    polynomials: (3, 8, 20, 40),
    decays: (2, 4, 6),
    factors: (12, 32),
    variation: (30, 60),
    quartics: (4, 10, 20),
    angles: (3, 8, 20),
}
"""Families, and the numbers of unknowns that they are drawn with."""

SPREAD = (quadratics, logistic, softmax, robust, exponents)
"""Families whose starts are moved, from much nearer to zero to much farther from it."""


def drawn(family: Family, seed: int, batch: int, n: int) -> tuple[Fun, Tensor]:
    """Problems of a family and a seed."""
    fun, x0 = family(Draw(1000 * seed + n), batch, n)
    distance = Draw(777 + seed).power(-1, 0.7, batch, 1) if family in SPREAD else 1.0
    return fun, distance * x0
