"""A linear map that is known by its matrix, with the ways to pull a curvature back through it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor

from learnmm.choices import chosen
from learnmm.curvature import Curvature, DiagonalCurvature, LowRankCurvature
from learnmm.linear.base import LinearMap
from learnmm.linear.forms import Form, absolute_sums, separable, trailing, uniform
from learnmm.linear.products import Products, as_csr
from learnmm.nested import tensors_of

SEEN = 64.0
"""Least singular value that a gradient shows, in units of ``eps`` times the largest."""

SPREAD = 1e-3
"""Most by which the margin for rounding enlarges strong directions; weak ones may grow more."""

T = TypeVar("T")


class OfMatrix(Generic[T]):
    """A property of a map that is kept until its matrix changes.

    Where it carries a graph, it is kept until gradients have gone through: the graph is spent then.
    """

    def __init__(self, find: Callable[[Any], T]) -> None:
        self.find, self.__doc__ = find, find.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> OfMatrix[T]: ...
    @overload
    def __get__(self, owner: MatrixMap, kind: type) -> T: ...

    def __get__(self, owner: MatrixMap | None, kind: type) -> Any:
        if owner is None:
            return self
        kept, name = owner.kept, self.find.__name__
        if name in kept and (torch.compiler.is_compiling() or kept[name][0] == owner.version):
            return kept[name][1]
        found = self.find(owner)
        kept[name] = owner.version, found

        def spend(gradient: Tensor) -> None:
            kept.pop(name, None)

        for part in tensors_of(found) if isinstance(found, Tensor | tuple) else []:
            if part.requires_grad:
                part.register_hook(spend)
        return found


class MatrixMap(LinearMap):
    """``x -> A x`` on the first dimension after the batch, ``(B, n, *rest) -> (B, m, *rest)``.

    Build it once and reuse it: the singular value decomposition behind the structured bound is
    computed on first use, and anew where the matrix was changed in place, as training does.

    Parameters
    ----------
    matrix : Tensor
        ``A``, shape ``(m, n)``, float32 or float64; sparse (CSR or COO) matrices work with
        ``form="uniform"`` and ``form="separable"``.
    form : {"structured", "uniform", "separable"}
        How a curvature ``C`` of the outer objective becomes one of the composition:
        ``A^T C A`` through the thin SVD; ``|A|^2 max(C) I`` (MM-Net Eq. 16); or the separable
        ``diag(|A|^T C |A| 1)``.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not a finite, real floating-point matrix, or the form is unknown.
    """

    def __init__(self, matrix: Tensor, form: Form | str = Form.STRUCTURED) -> None:
        if not isinstance(matrix, Tensor):
            raise TypeError(f"MatrixMap expects a torch.Tensor, got {type(matrix).__name__}")
        if matrix.dim() != 2 or not matrix.is_floating_point():
            raise ValueError(
                "MatrixMap expects a real floating-point matrix (m, n), got shape "
                f"{tuple(matrix.shape)} and dtype {matrix.dtype}"
            )
        self.form = chosen(Form, form, "MatrixMap: form")
        self.sparse = matrix.layout != torch.strided
        if self.sparse and self.form is Form.STRUCTURED:
            raise ValueError(
                "a sparse matrix has no cheap singular value decomposition: it works with "
                f"form='uniform' or 'separable', got form={self.form.value!r}"
            )
        entries = matrix.to_sparse_coo().coalesce().values() if self.sparse else matrix
        if not bool(torch.isfinite(entries).all()):
            raise ValueError("MatrixMap expects a finite matrix, got NaN or infinite entries")
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        self.matrix = as_csr(matrix) if self.sparse else matrix
        self._transposed = as_csr(matrix.to_sparse_coo().mT) if self.sparse else matrix.mT
        self.kept: dict[str, tuple[Any, Any]] = {}
        self.magnitude  # noqa: B018 - kept, so that it can be compiled

    @property
    def version(self) -> Any:
        """What differs once the matrix has been changed, or its gradient is wanted."""
        matrix = self.matrix
        if self.sparse or matrix.is_inference():
            return None  # is not trained
        wanted = matrix.requires_grad and torch.is_grad_enabled()
        return matrix._version, matrix.data_ptr(), wanted

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)``."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> MatrixMap:
        """Copy; torch has no deep copy of sparse CSR tensors."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        for name, value in vars(self).items():
            if name == "kept":  # found anew on demand
                vars(twin)[name] = {}
                continue
            sparse = isinstance(value, Tensor) and value.layout != torch.strided
            vars(twin)[name] = value.clone() if sparse else copy.deepcopy(value, memo)
        return twin

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

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        return Products(self.matrix, self._transposed)(x)

    def adjoint(self, z: Tensor) -> Tensor:
        """``A^T z``."""
        return Products(self._transposed, self.matrix)(z)

    @OfMatrix
    def svd(self) -> tuple[Tensor, Tensor]:
        """Singular values ``(r,)`` and right singular vectors ``(n, r)`` above rounding error."""
        _, values, basis = self._decomposition
        rank = int((values > SEEN * torch.finfo(self.matrix.dtype).eps * values[:1]).sum())
        return values[:rank].to(basis.dtype), basis[:, :rank]

    @OfMatrix
    def _decomposition(self) -> tuple[Tensor, Tensor, Tensor]:
        """``A = U diag(s) V^T`` in float64, with ``V`` rounded to the dtype of the matrix."""
        left, values, right = torch.linalg.svd(self.matrix.double(), full_matrices=False)
        return left, values, right.mT.contiguous().to(self.matrix.dtype)

    @OfMatrix
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

    def norm(self, like: Tensor) -> float:
        """Upper bound of the spectral norm: from the SVD, or ``sqrt(|A|_1 |A|_inf)`` if sparse."""
        return self._norm

    @OfMatrix
    def _norm(self) -> float:
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

    @OfMatrix
    def magnitude(self) -> float:
        """Frobenius norm: row by row ``|a_i| |x|`` is the most that a product sums."""
        entries = self.matrix.values() if self.sparse else self.matrix
        return float(torch.linalg.vector_norm(entries.detach().double()))

    @OfMatrix
    def absolute(self) -> MatrixMap:
        """The map of the absolute entries."""
        return MatrixMap(self.matrix.abs(), Form.UNIFORM)

    @OfMatrix
    def _sums(self) -> tuple[Tensor, Tensor]:
        """``|A| 1`` and ``|A|^T |A| 1``, ``(1, m)`` and ``(1, n)``."""
        return absolute_sums(self.absolute, self.matrix)

    def pull_back(self, curvature: Curvature, x: Tensor) -> Curvature:
        """Curvature that dominates ``A^T C A`` in the coordinates of ``x``, in this map's form."""
        if self.form is Form.UNIFORM:
            return uniform(self, curvature, x)
        if self.form is Form.SEPARABLE:
            rows, columns = self._sums
            if isinstance(curvature, DiagonalCurvature):
                # v^T A^T C A v <= v^T diag(|A|^T c |A| 1) v for C = diag(c) (Jensen, row by row).
                entries = curvature.entries * trailing(rows, x)
                return DiagonalCurvature(self.absolute.adjoint(entries))
            return separable(columns, curvature, x)
        weights, basis = self._cover
        level = curvature.largest()
        return LowRankCurvature(torch.zeros_like(level), level[:, None] * weights, basis)
