"""A linear map known by its products alone, with the bounds that products can give."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.linear.base import LinearMap
from learnmm.linear.forms import absolute_sums, separable, uniform
from learnmm.linear.lanczos import start_vector, top_bound
from learnmm.vectors import dot, norm

Product = Callable[[Tensor], Tensor]

MARGIN = 64.0
"""Rounding error of a computed norm in units of eps."""


class LinearOperator(LinearMap):
    """``x -> A x`` from functions that compute ``A x`` and ``A^T z``; no matrix is formed.

    A curvature ``C`` behind the operator becomes one of the iterate in the sharpest form that the
    arguments allow:

    - `absolute` given: the separable ``max(C) diag(|A|^T |A| 1)``, `GLOBAL`;
    - `norm` given: ``|A|^2 max(C) I`` (MM-Net Eq. 16), `GLOBAL` on the caller's word;
    - neither: the same with an upper bound of ``|A|`` from Lanczos's method on ``A^T A``, which
      fails with a stated probability: `PROBABLE`. It is computed once, on first use; a
      certificate counts its probability at every step, which overstates it.

    None of them costs a product per step. Build it once and reuse it: what the bounds need is kept.

    Parameters
    ----------
    apply : callable
        ``A``, linear: ``(B, *domain) -> (B, *image)``, of differentiable torch operations.
    adjoint : callable
        ``A^T``: ``(B, *image) -> (B, *domain)``.
    domain, image : tuple of int
        Shapes of one problem's ``x`` and ``A x``.
    absolute : tuple of two callables, optional
        ``|A|`` and ``|A|^T``, the products with the absolute entries, or with larger ones.
    norm : float, optional
        An upper bound of the spectral norm.
    failure_probability : float
        Of Lanczos's bound, where it is needed.
    generator : torch.Generator, optional
        Of Lanczos's start vector.

    Raises
    ------
    TypeError, ValueError
        For arguments that cannot work, naming what came and what was expected.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def cumsum(x):
    ...     return x.cumsum(1)
    >>> def adjoint(z):
    ...     return z.flip(1).cumsum(1).flip(1)
    >>> A = lmm.linear.LinearOperator(cumsum, adjoint, (50,), (50,), absolute=(cumsum, adjoint))
    >>> lmm.checks.assert_adjoint(A, torch.zeros(1, 50, dtype=torch.float64))
    >>> energy = lmm.HalfQuadratic(torch.ones(3, 50)) @ A
    >>> energy.bound(torch.zeros(3, 50)).kind.name
    'GLOBAL'
    """

    def __init__(
        self,
        apply: Product,
        adjoint: Product,
        domain: tuple[int, ...],
        image: tuple[int, ...],
        *,
        absolute: tuple[Product, Product] | None = None,
        norm: float | None = None,
        failure_probability: float = 1e-6,
        generator: torch.Generator | None = None,
    ) -> None:
        _require_products(apply, adjoint, absolute)
        _require_sizes(domain, image)
        if norm is not None and not (norm >= 0 and math.isfinite(norm)):
            raise ValueError(f"LinearOperator: norm must be non-negative and finite, got {norm}")
        if not 0 < failure_probability < 1:
            raise ValueError(
                f"LinearOperator: failure_probability must be in (0, 1), got {failure_probability}"
            )
        certain = absolute is not None or norm is not None
        super().__init__(tuple(domain), tuple(image), 0.0 if certain else failure_probability)
        self._apply = apply
        self._adjoint = adjoint
        self._absolute = None if absolute is None else LinearOperator(*absolute, domain, image)
        self._generator = generator
        self._norm = norm
        self._found: dict[torch.dtype, float] = {}
        self._largest = norm or 0.0
        self._kept: dict[torch.dtype, Tensor] = {}

    @property
    def absolute(self) -> LinearOperator | None:
        """``|A|`` as it was given."""
        return self._absolute

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        return self._apply(x)

    def adjoint(self, z: Tensor) -> Tensor:
        """``A^T z``."""
        return self._adjoint(z)

    @property
    def magnitude(self) -> float:
        """The norm, once it is known."""
        return self._largest

    def check(self, x: Tensor) -> None:
        """Raise a clear error unless both products fit the iterate ``x`` and each other.

        The dot test ``<A x, A x> = <x, A^T A x>`` on one Gaussian ``x`` finds most pairs that are
        not adjoint; ``learnmm.checks.assert_adjoint`` is the thorough one.
        """
        if tuple(x.shape[1:]) != self.domain:
            raise ValueError(
                f"a LinearOperator on {self.domain} acts on iterates (B, "
                f"{', '.join(map(str, self.domain))}), got x of shape {tuple(x.shape)}"
            )
        with torch.no_grad():
            probe = start_vector(x[:1], torch.Generator().manual_seed(0))
            image = _checked("apply", self.apply, probe, self.image)
            back = _checked("adjoint", self.adjoint, image, self.domain)
            if self.absolute is not None:
                rows = _checked("absolute[0]", self.absolute.apply, probe.abs(), self.image)
                _checked("absolute[1]", self.absolute.adjoint, rows, self.domain)
            expected, found = dot(image, image), dot(probe, back)
            scale = expected + norm(probe) * norm(back)
            if not bool((found - expected).abs() <= torch.finfo(x.dtype).eps ** 0.5 * scale):
                raise ValueError(
                    "LinearOperator: adjoint is not the adjoint of apply: <A x, A x> = "
                    f"{float(expected):.6g}, but <x, A^T A x> = {float(found):.6g}"
                )

    def norm(self, like: Tensor) -> float:
        """Upper bound of the spectral norm; `like` gives dtype and device ``(B, *domain)``."""
        if self._norm is not None:
            return self._norm
        if like.dtype not in self._found:  # in every precision the products round their own way
            self._found[like.dtype] = self._measured_norm(like)
            self._largest = max(self._largest, self._found[like.dtype])
        return self._found[like.dtype]

    def _measured_norm(self, like: Tensor) -> float:
        with torch.no_grad():
            if self.absolute is None:
                start = start_vector(like[:1], self._generator).contiguous()
                square = top_bound(
                    lambda v: self.adjoint(self.apply(v)), start, self.failure_probability
                )
            else:  # the largest row sum of |A|^T |A|
                square = self._columns(self.absolute, like).amax()
        return math.sqrt(float(square)) * (1 + MARGIN * torch.finfo(like.dtype).eps)

    def pull_back(self, curvature: Curvature, x: Tensor) -> Curvature:
        """Curvature that dominates ``A^T C A`` in the coordinates of ``x``."""
        if self.absolute is None:
            return uniform(self, curvature, x)
        return separable(self._columns(self.absolute, x), curvature, x)

    def _columns(self, absolute: LinearOperator, like: Tensor) -> Tensor:
        """``|A|^T |A| 1``, ``(1, *domain)``."""
        if like.dtype not in self._kept:
            with torch.no_grad():
                self._kept[like.dtype] = absolute_sums(absolute, like)[1]
        return self._kept[like.dtype]


def _checked(name: str, product: Product, v: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A product with what it must return: shape, dtype, device."""
    try:
        out = product(v)
    except RuntimeError as error:
        error.add_note(f"LinearOperator: {name} failed on {tuple(v.shape)}, {v.dtype}, {v.device}.")
        raise
    found = (tuple(out.shape), out.dtype, out.device)
    if found != ((1, *shape), v.dtype, v.device):
        raise ValueError(
            f"LinearOperator: {name} must return {(1, *shape)}, {v.dtype} on {v.device} for one "
            f"problem, got {found[0]}, {found[1]} on {found[2]}"
        )
    return out


def _require_products(apply: Product, adjoint: Product, absolute: object) -> None:
    for name, product in (("apply", apply), ("adjoint", adjoint)):
        if not callable(product):
            raise TypeError(
                f"LinearOperator: {name} must be callable, got {type(product).__name__}"
            )
    pair = isinstance(absolute, tuple) and len(absolute) == 2 and all(map(callable, absolute))
    if not (absolute is None or pair):
        raise TypeError(
            "LinearOperator: absolute must be two callables, |A| and |A|^T, got "
            f"{type(absolute).__name__}"
        )


def _require_sizes(domain: tuple[int, ...], image: tuple[int, ...]) -> None:
    for name, shape in (("domain", domain), ("image", image)):
        if not (shape and all(isinstance(size, int) and size >= 1 for size in shape)):
            raise ValueError(
                f"LinearOperator: {name} must be a shape of positive integers, got {shape}"
            )
