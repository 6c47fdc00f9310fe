"""Curvature of any differentiable callable from Hessian-vector products."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.choices import chosen
from learnmm.curvature import ScalarCurvature
from learnmm.hessian import HessianProduct, Route
from learnmm.kind import Kind
from learnmm.linear.lanczos import log_term, ritz_extremes, start_vector
from learnmm.majorants.secant import FAR, reach_of, unit
from learnmm.objective import BatchFunction, Objective
from learnmm.plain import integer, number
from learnmm.vectors import expand, norm

CONCAVE_SHARE = 1e-3
"""Least curvature as a share of the spectral radius, for points where ``f`` curves downwards."""


class HessianMajorant(ABC):
    """A curvature per problem from a few Hessian-vector products.

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``, an :class:`~learnmm.Objective` or a function.
    steps : int
        Hessian-vector products per bound.
    generator : torch.Generator, optional
        Of the start vectors; one vector is drawn per bound and shared by the batch, so that a
        problem's result does not depend on its neighbours. It advances with every bound, so steps
        repeat exactly only from the same state of the generator, on the same processor and with
        the same number of threads, and only if no other thread draws from it. Default: torch's
        global one, which alone works under `torch.compile` and is rewound by checkpointing.
    route : {"auto", "forward", "reverse"}
        How Hessian-vector products are differentiated, see `learnmm.hessian.hessian_product`.

    Raises
    ------
    ValueError
        If the settings do not fit.
    SecondDerivativeError
        A `RuntimeError`, from a bound of a function that can be differentiated only once.
    """

    kind: Kind
    failure_probability: float = 0.0

    def __init__(
        self, fun: BatchFunction, steps: int, generator: torch.Generator | None, route: Route | str
    ) -> None:
        name = type(self).__name__
        self.fun = fun
        self.steps = integer(f"{name}: steps", steps, 1)
        self.generator = generator
        self.route = chosen(Route, route, f"{name}: route")

    @abstractmethod
    def largest(self, product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Bound of the largest curvature, ``(B,)``, from products ``v -> H v``; 0 for ``H = 0``."""

    def __call__(self, x: Tensor, aux: Any = None) -> Bound:
        """Bound at ``x``, from a fresh start vector."""
        product = HessianProduct(self.fun, x, self.route)
        level = at_least(self.largest(product, x), x, product.gradient)
        return Bound(
            self.kind, ScalarCurvature(level), failure_probability=self.failure_probability
        )

    def restricted(self, rows: Tensor) -> Self | None:
        """Return the same for some problems of its batch, ``(b,)``; None for a mere function."""
        fun = self.fun.restricted(rows) if isinstance(self.fun, Objective) else None
        if fun is None:
            return None
        twin = copy.copy(self)
        twin.fun = fun
        return twin


class PowerIterationMajorant(HessianMajorant):
    """`ESTIMATE` of the largest curvature by power iteration on the Hessian.

    Power iteration approaches the spectral radius from below, so nothing is promised.

    Parameters
    ----------
    fun, steps
        See `HessianMajorant`.
    margin : float
        Factor on the estimate, at least 1.
    generator, route
        See `HessianMajorant`.
    """

    kind = Kind.ESTIMATE

    def __init__(
        self,
        fun: BatchFunction,
        steps: int = 5,
        margin: float = 1.1,
        generator: torch.Generator | None = None,
        route: Route | str = Route.AUTO,
    ) -> None:
        super().__init__(fun, steps, generator, route)
        self.margin = number("PowerIterationMajorant: margin", margin)
        if not 1 <= self.margin < math.inf:
            raise ValueError(
                f"PowerIterationMajorant: margin must be at least 1 and finite, got {margin}"
            )

    def largest(self, product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Length of the last product, with the margin."""
        v = start_vector(x, self.generator)
        size = norm(v)
        for _ in range(self.steps):
            v = product(v * expand(1 / size.clamp(min=torch.finfo(x.dtype).tiny), v))
            size = norm(v)
        return self.margin * size


class LanczosMajorant(HessianMajorant):
    """Curvature bound that fails with a stated probability, by Lanczos with a random start.

    For symmetric ``H`` of order ``n`` with eigenvalues spread over ``D = lmax - lmin``, ``k``
    steps from a random direction leave ``lmax - ritz_max > eps D`` with probability at most
    ``1.648 sqrt(n) exp(-sqrt(eps) (2k - 1))`` (Kuczynski & Wozniakowski 1992, Theorem 4.2, which
    the shift by ``lmin`` carries over to indefinite ``H``, since Krylov spaces do not change under
    shifts). The same holds at the other end, from the same run. Adding up,
    ``D <= (ritz_max - ritz_min) / (1 - 2 eps)``, hence with probability ``1 - delta``

    ``lmax <= ritz_max + eps (ritz_max - ritz_min) / (1 - 2 eps)``,

    each end being given ``delta / 2``. After ``k >= n`` steps the Ritz values are exact.

    Parameters
    ----------
    fun, steps
        See `HessianMajorant`. More steps are used where the bound needs them to exist.
    failure_probability : float
        ``delta`` per bound.
    generator, route
        See `HessianMajorant`.
    """

    kind = Kind.PROBABLE

    def __init__(
        self,
        fun: BatchFunction,
        steps: int = 8,
        failure_probability: float = 1e-3,
        generator: torch.Generator | None = None,
        route: Route | str = Route.AUTO,
    ) -> None:
        super().__init__(fun, steps, generator, route)
        self.failure_probability = number(
            "LanczosMajorant: failure_probability", failure_probability
        )
        if not 0 < self.failure_probability < 1:
            raise ValueError(
                f"LanczosMajorant: failure_probability must be in (0, 1), got {failure_probability}"
            )

    def largest(self, product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Largest Ritz value, with the share of the spread that the bound adds."""
        steps, share = self.plan(x[0].numel())
        least, most = ritz_extremes(product, start_vector(x, self.generator), steps)
        # Any curvature above the largest eigenvalue is a bound; where f is concave that eigenvalue
        # is no scale for a step, so a share of the spectral radius is.
        radius = torch.maximum(most.abs(), least.abs())
        return torch.maximum(most + share * (most - least), CONCAVE_SHARE * radius)

    def plan(self, n: int) -> tuple[int, float]:
        """Steps to take for order ``n``, and the share of the spread to add."""
        term = log_term(n, self.failure_probability / 2)
        # eps below 1/4 keeps the added share below one half of the spread.
        steps = max(self.steps, math.ceil((2 * term + 1) / 2))
        if steps >= n:
            return n, 0.0
        eps = (term / (2 * steps - 1)) ** 2
        return steps, eps / (1 - 2 * eps)


def at_least(level: Tensor, x: Tensor, gradient: Tensor | None) -> Tensor:
    """Raise a curvature ``(B,)`` to where a step is at most `FAR` times as long as the iterate.

    A larger curvature is still a bound, and less than that is often the rounding of products that
    vanish, by which no number of refusals would bring a step back.
    """
    if gradient is not None:
        least = unit(gradient.detach())[1] / (FAR * reach_of(x.detach()))
        level = torch.maximum(level, torch.nan_to_num(least, nan=0.0, posinf=0.0))
    return torch.where(level == 0, torch.finfo(x.dtype).eps, level)  # flat: any will do
