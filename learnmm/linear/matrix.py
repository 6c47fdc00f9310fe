"""An affine map shared by a batch, with the ways to pull a curvature back through it."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from learnmm.curvature import (
    Curvature,
    DiagonalCurvature,
    LowRankCurvature,
    ScalarCurvature,
    left_multiply,
)
from learnmm.linear.base import AffineMap

Form = Literal["structured", "uniform", "separable"]
FORMS: tuple[Form, ...] = ("structured", "uniform", "separable")

SEEN = 64.0
"""Least singular value that a gradient shows, in units of ``eps`` times the largest."""

SPREAD = 1e-3
"""Most by which the margin for rounding enlarges strong directions; weak ones may grow more."""


class LinearMap(AffineMap):
    """``x -> A x + c`` on the first dimension after the batch, ``(B, n, *rest) -> (B, m, *rest)``.

    Build it once and reuse it: the singular value decomposition behind the structured bound is
    computed on first use and kept.

    Parameters
    ----------
    matrix : Tensor
        ``A``, shape ``(m, n)``, float32 or float64; sparse (CSR or COO) matrices work with
        ``form="uniform"`` and ``form="separable"``.
    offset : Tensor, optional
        ``c``, broadcastable to ``(B, m, *rest)``.
    form : {"structured", "uniform", "separable"}
        How a curvature ``C`` of the outer objective becomes one of the composition:
        ``A^T C A`` through the thin SVD; ``|A|^2 max(C) I`` (MM-Net Eq. 16); or the separable
        ``diag(|A|^T C |A| 1)``.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not a finite, real floating-point matrix, or the form is unknown.
    """

    def __init__(
        self, matrix: Tensor, offset: Tensor | None = None, form: Form = "structured"
    ) -> None:
        if not isinstance(matrix, Tensor):
            raise TypeError(f"LinearMap expects a torch.Tensor, got {type(matrix).__name__}")
        if matrix.dim() != 2 or not matrix.is_floating_point():
            raise ValueError(
                "LinearMap expects a real floating-point matrix (m, n), got shape "
                f"{tuple(matrix.shape)} and dtype {matrix.dtype}"
            )
        if form not in FORMS:
            raise ValueError(f"form must be one of {FORMS}, got {form!r}")
        self.sparse = matrix.layout != torch.strided
        if self.sparse and form == "structured":
            raise ValueError(
                "a sparse matrix has no cheap singular value decomposition: it works with "
                f"form='uniform' or 'separable', got form={form!r}"
            )
        entries = matrix.to_sparse_coo().coalesce().values() if self.sparse else matrix
        if not bool(torch.isfinite(entries).all()):
            raise ValueError("LinearMap expects a finite matrix, got NaN or infinite entries")
        self.matrix = _csr(matrix) if self.sparse else matrix
        self._transposed = _csr(matrix.to_sparse_coo().mT) if self.sparse else matrix.mT
        self.offset = offset
        self.form: Form = form
        self._magnitude = float(torch.linalg.vector_norm(entries.detach().double()))

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)``."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> LinearMap:
        """Copy; torch has no deep copy of sparse CSR tensors."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        for name, value in vars(self).items():
            if name == "_absolute":  # made anew on demand
                continue
            sparse = isinstance(value, Tensor) and value.layout != torch.strided
            vars(twin)[name] = value.clone() if sparse else copy.deepcopy(value, memo)
        return twin

    def with_form(self, form: Form) -> LinearMap:
        """Return the same map with another form of bound."""
        return LinearMap(self.matrix, self.offset, form)

    def check(self, x: Tensor) -> None:
        """Raise a clear error unless ``A x`` is defined for the iterate ``x``."""
        if x.dim() < 2 or x.shape[1] != self.shape[1]:
            raise ValueError(
                f"a matrix of shape {self.shape} acts on iterates (B, {self.shape[1]}, ...), "
                f"got x of shape {tuple(x.shape)}"
            )
        if x.dtype != self.matrix.dtype:
            raise ValueError(f"x has dtype {x.dtype}, but the matrix has {self.matrix.dtype}")
        if x.device != self.matrix.device:
            raise ValueError(f"x is on {x.device}, but the matrix is on {self.matrix.device}")
        if self.offset is not None:
            image = (x.shape[0], self.shape[0], *x.shape[2:])
            try:
                fits = torch.broadcast_shapes(self.offset.shape, image) == image
            except RuntimeError:
                fits = False
            if not fits:
                raise ValueError(
                    f"the offset of shape {tuple(self.offset.shape)} does not broadcast to the "
                    f"image {image}"
                )

    def __call__(self, x: Tensor) -> Tensor:
        """``A x + c``."""
        z = self._product(x)
        return z if self.offset is None else z + self.offset

    def adjoint(self, z: Tensor) -> Tensor:
        """``A^T z`` (the derivative's transpose; the offset does not enter)."""
        return self._product(z, adjoint=True)

    def _product(self, x: Tensor, *, adjoint: bool = False) -> Tensor:
        products = _Products(self.matrix, self._transposed)
        return products.flipped()(x) if adjoint else products(x)

    @property
    def keeps_shape(self) -> bool:
        """Whether the matrix is square, without an offset."""
        return self.shape[0] == self.shape[1] and self.offset is None

    @cached_property
    def svd(self) -> tuple[Tensor, Tensor]:
        """Singular values ``(r,)`` and right singular vectors ``(n, r)`` above rounding error."""
        _, values, basis = self._decomposition
        rank = int((values > SEEN * torch.finfo(self.matrix.dtype).eps * values[:1]).sum())
        return values[:rank].to(basis.dtype), basis[:, :rank]

    @cached_property
    def _decomposition(self) -> tuple[Tensor, Tensor, Tensor]:
        """``A = U diag(s) V^T`` in float64, with ``V`` rounded to the dtype of the matrix."""
        left, values, right = torch.linalg.svd(self.matrix.double(), full_matrices=False)
        return left, values, right.mT.contiguous().to(self.matrix.dtype)

    @cached_property
    def _cover(self) -> tuple[Tensor, Tensor]:
        """``w`` of shape ``(r,)`` and ``V`` of shape ``(n, r)``, ``r = min(m, n)``, such that
        ``A^T A <= V diag(w) V^T``, up to the rounding of ``A v`` itself; no direction is dropped.

        ``w`` are the squared singular values with two margins. What the decomposition and the cast
        of ``V`` leave over, ``R = A - U diag(s) V^T``, is covered by
        ``|A v|^2 <= (1 + t) |diag(s) V^T v|^2 + (1 + 1/t) |R|^2 |v|^2`` for any ``t > 0``. And
        singular values below ``64 eps s_0`` are raised to ``eps^(1/3) s_0``: what a gradient says
        of such a direction is rounding, which must not become a long step.
        """
        left, values, basis = self._decomposition
        dtype = self.matrix.dtype
        eps, seen = torch.finfo(dtype).eps, self.svd[0].numel()
        if not seen:
            return torch.zeros_like(values).to(dtype), basis
        # The margins are constants for gradients with respect to the matrix.
        matrix, u, s, v = (t.detach().double() for t in (self.matrix, left, values, basis))
        rest = torch.linalg.matrix_norm(matrix - (u * s) @ v.mT, 2)
        share = (rest / s[seen - 1]).clamp(torch.finfo(matrix.dtype).eps, SPREAD)
        weights = (1 + share) * values**2 + (1 + 1 / share) * rest**2
        known = torch.arange(len(s), device=s.device) < seen
        return torch.where(known, weights, eps ** (2 / 3) * s[0] ** 2).to(dtype), basis

    @cached_property
    def norm(self) -> float:
        """Upper bound of the spectral norm: from the SVD, or ``sqrt(|A|_1 |A|_inf)`` if sparse."""
        if self.sparse:
            coo = self.matrix.to_sparse_coo().coalesce()
            rows, columns = coo.indices()
            size = coo.values().double().abs()
            row = size.new_zeros(self.shape[0]).index_add(0, rows, size).max()
            column = size.new_zeros(self.shape[1]).index_add(0, columns, size).max()
            return float((row * column).sqrt())
        # The relative margin covers the rounding error of the decomposition.
        margin = 1 + max(self.shape) * torch.finfo(torch.float64).eps
        return float(torch.linalg.matrix_norm(self.matrix.detach().double(), 2)) * margin

    def norm_at(self, like: Tensor) -> float:
        """`norm`, the same for every dtype."""
        return self.norm

    @property
    def magnitude(self) -> float:
        """Frobenius norm: row by row ``|a_i| |x|`` is the most that a product sums."""
        return self._magnitude

    @cached_property
    def _absolute(self) -> _Products:
        """Products with ``|A|``."""
        return _Products(self.matrix.abs(), self._transposed.abs())

    @cached_property
    def _sums(self) -> tuple[Tensor, Tensor]:
        """``|A| 1`` and ``|A|^T |A| 1``, ``(1, m)`` and ``(1, n)``."""
        ones = torch.ones(1, self.shape[1], dtype=self.matrix.dtype, device=self.matrix.device)
        rows = self._absolute(ones)
        return rows, self._absolute.flipped()(rows)

    def pull_back(self, curvature: Curvature, x: Tensor) -> Curvature:
        """Curvature that dominates ``A^T C A`` in the coordinates of ``x``, in this map's form."""
        if self.form == "uniform":
            return ScalarCurvature(curvature.largest() * self.norm**2)
        if self.form == "separable":
            # v^T A^T C A v <= v^T diag(|A|^T c |A| 1) v for C = diag(c) (Jensen, row by row).
            rows, columns = (sums.reshape(1, -1, *([1] * (x.dim() - 2))) for sums in self._sums)
            if isinstance(curvature, DiagonalCurvature):
                return DiagonalCurvature(self._absolute.flipped()(curvature.entries * rows))
            level = curvature.largest().reshape(-1, *([1] * (x.dim() - 1)))
            return DiagonalCurvature((level * columns).expand_as(x))
        weights, basis = self._cover
        level = curvature.largest()
        return LowRankCurvature(torch.zeros_like(level), level[:, None] * weights, basis)

    def pull_back_radius(self, radius: Tensor | None) -> Tensor | None:
        """Radius around ``x`` whose image stays within ``radius`` of ``A x``."""
        return None if radius is None else radius / self.norm


@dataclass(frozen=True, eq=False)
class _Products:
    """``M x`` on the first dimension after the batch, for a dense or a CSR matrix.

    CSR has no cheap transposed product; a second CSR copy does.
    """

    matrix: Tensor
    transposed: Tensor

    def flipped(self) -> _Products:
        """Products with ``M^T``."""
        return _Products(self.transposed, self.matrix)

    def __call__(self, x: Tensor) -> Tensor:
        if self.matrix.layout == torch.strided:
            return left_multiply(self.matrix, x)
        columns = x.movedim(0, -1).reshape(x.shape[1], -1)
        image = _sparse_product(self, columns)
        return image.reshape(-1, *x.shape[2:], x.shape[0]).movedim(-1, 0)


class _SparseProduct(torch.autograd.Function):
    """``M x`` for columns ``x``: torch.func has no derivatives of CSR products."""

    @staticmethod
    def forward(products: _Products, columns: Tensor) -> Tensor:
        return products.matrix @ columns

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[_Products, Tensor], output: Tensor) -> None:
        ctx.products, _ = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _sparse_product(ctx.products.flipped(), gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Tensor:
        return _sparse_product(ctx.products, tangent)

    @staticmethod
    def vmap(
        _: Any, in_dims: tuple[None, int], products: _Products, columns: Tensor
    ) -> tuple[Tensor, int]:
        columns = columns.movedim(in_dims[1], -1)  # (n, columns, mapped): only more columns
        image = _sparse_product(products, columns.flatten(1))
        return image.unflatten(1, columns.shape[1:]), 2


def _sparse_product(products: _Products, columns: Tensor) -> Tensor:
    image: Tensor = _SparseProduct.apply(products, columns)  # type: ignore[no-untyped-call]
    return image


def _csr(matrix: Tensor) -> Tensor:
    """CSR copy, without torch's notices on sparse tensors: users of a map cannot act on them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        return matrix.to_sparse_csr()
