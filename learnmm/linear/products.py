"""Products with a matrix, dense or sparse, that differentiate as often as anybody asks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learnmm.vectors import left_multiply


@dataclass(frozen=True, eq=False)
class Products:
    """``M x`` on the first dimension after the batch, for a dense or a CSR matrix.

    CSR has no cheap transposed product; a second CSR copy does.
    """

    matrix: Tensor
    transposed: Tensor

    def flipped(self) -> Products:
        """Products with ``M^T``."""
        return Products(self.transposed, self.matrix)

    def __call__(self, x: Tensor) -> Tensor:
        """``M x``, ``(B, n, *rest) -> (B, m, *rest)``."""
        if self.matrix.layout == torch.strided:
            return left_multiply(self.matrix, x)
        columns = x.movedim(0, -1).reshape(x.shape[1], -1)
        image = _sparse_product(self, columns)
        return image.reshape(-1, *x.shape[2:], x.shape[0]).movedim(-1, 0)


class _SparseProduct(torch.autograd.Function):
    """``M x`` for columns ``x``: torch.func has no derivatives of CSR products."""

    @staticmethod
    def forward(products: Products, columns: Tensor) -> Tensor:
        return products.matrix @ columns

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Products, Tensor], output: Tensor) -> None:
        ctx.products, _ = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _sparse_product(ctx.products.flipped(), gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Tensor:
        return _sparse_product(ctx.products, tangent)

    @staticmethod
    def vmap(
        _: Any, in_dims: tuple[None, int], products: Products, columns: Tensor
    ) -> tuple[Tensor, int]:
        columns = columns.movedim(in_dims[1], -1)  # (n, columns, mapped): only more columns
        image = _sparse_product(products, columns.flatten(1))
        return image.unflatten(1, columns.shape[1:]), 2


def _sparse_product(products: Products, columns: Tensor) -> Tensor:
    image: Tensor = _SparseProduct.apply(products, columns)  # type: ignore[no-untyped-call]
    return image


def as_csr(matrix: Tensor) -> Tensor:
    """CSR copy, without torch's notices on sparse tensors: users of a map cannot act on them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        return matrix.to_sparse_csr()
