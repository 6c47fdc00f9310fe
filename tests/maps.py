"""Every kind of linear map, small enough to be looked at densely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.hessian import hessian_product
from learnmm.linear import Form, absolute_sums, separable

DTYPE = torch.float64
FAILURE = 1e-4
"""Of the norms that are only probable."""


def matrix_of(linear: lmm.linear.LinearMap, x: Tensor) -> Tensor:
    """The matrix on flattened iterates of the shape of ``x``, column by column."""
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    return linear(units).reshape(len(units), -1).mT


def by_products(matrix: Tensor, **settings: Any) -> lmm.linear.LinearOperator:
    """A matrix known by its products."""
    m, n = matrix.shape
    return lmm.linear.LinearOperator(
        lambda x: x @ matrix.mT, lambda z: z @ matrix, (n,), (m,), **settings
    )


def with_absolute(matrix: Tensor) -> lmm.linear.LinearOperator:
    """A matrix known by its products and those of its absolute entries."""
    size = matrix.abs()
    return by_products(matrix, absolute=(lambda x: x @ size.mT, lambda z: z @ size))


def spectral_norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


class Turned(lmm.linear.LinearMap):
    """A map as somebody else would write it: the first dimension shifted in a circle, times 2."""

    def __init__(self, size: int) -> None:
        super().__init__((size,), (size,))

    @property
    def magnitude(self) -> float:
        return 2.0

    @property
    def absolute(self) -> lmm.linear.LinearMap:
        return self

    def apply(self, x: Tensor) -> Tensor:
        return 2 * x.roll(1, 1)

    def adjoint(self, z: Tensor) -> Tensor:
        return 2 * z.roll(-1, 1)

    def norm(self, like: Tensor) -> float:
        return 2.0

    def pull_back(self, curvature: lmm.curvature.Curvature, x: Tensor) -> lmm.curvature.Curvature:
        return separable(absolute_sums(self, x)[1], curvature, x)

    def check(self, x: Tensor) -> None:
        if x.dim() < 2 or x.shape[1] != self.domain[0]:
            raise ValueError(f"a shift acts on iterates (B, ...), got x of shape {tuple(x.shape)}")


@dataclass(frozen=True)
class MapCase:
    """A map that depends on a seed, for iterates of a shape, and what its bounds promise."""

    name: str
    build: Callable[[int], lmm.linear.LinearMap]
    shape: tuple[int, ...]
    kind: lmm.Kind = lmm.Kind.GLOBAL
    keeps_shape: bool = False

    def point(self, batch: int, seed: int = 0) -> Tensor:
        return normal(batch, *self.shape, seed=1000 + seed)


def _sparse(seed: int, *shape: int) -> Tensor:
    matrix = normal(*shape, seed=seed)
    return matrix * (matrix.abs() > 0.5)


def complex_normal(*shape: int, seed: int) -> Tensor:
    return torch.complex(normal(*shape, seed=seed), normal(*shape, seed=seed + 1))


def _low_rank(seed: int) -> Tensor:
    return normal(4, 2, seed=seed) @ normal(2, 6, seed=seed + 1)


def _frequencies(seed: int, *shape: int) -> Tensor:
    mask = normal(*shape, seed=seed) > 0
    mask.view(-1)[0] = True
    return mask


MAPS = [
    *(
        MapCase(
            f"wide {form}", lambda s, f=form: lmm.linear.MatrixMap(normal(4, 6, seed=s), f), (6,)
        )
        for form in Form
    ),
    MapCase("tall", lambda s: lmm.linear.MatrixMap(normal(7, 5, seed=s)), (5,)),
    MapCase("low rank", lambda s: lmm.linear.MatrixMap(_low_rank(s)), (6,)),
    MapCase("times", lambda s: lmm.linear.MatrixMap(normal(4, 3, seed=s)), (3, 2)),
    MapCase(
        "times separable",
        lambda s: lmm.linear.MatrixMap(normal(3, 3, seed=s), "separable"),
        (3, 2, 2),
        keeps_shape=True,
    ),
    MapCase(
        "csr", lambda s: lmm.linear.MatrixMap(_sparse(s, 5, 6).to_sparse_csr(), "uniform"), (6,)
    ),
    MapCase(
        "coo",
        lambda s: lmm.linear.MatrixMap(_sparse(s, 6, 6).to_sparse_coo(), "separable"),
        (6,),
        keeps_shape=True,
    ),
    MapCase(
        "circular",
        lambda s: lmm.linear.convolution(normal(3, seed=s), (6,)),
        (6,),
        keeps_shape=True,
    ),
    MapCase(
        "zero",
        lambda s: lmm.linear.convolution(normal(3, 1, seed=s), (4, 2), "zero"),
        (4, 2),
        keeps_shape=True,
    ),
    MapCase("fourier", lambda s: lmm.linear.subsampled_fourier(_frequencies(s, 2, 3)), (2, 3)),
    MapCase("complex", lambda s: lmm.linear.complex_matrix(complex_normal(3, 2, seed=s)), (2, 2)),
    MapCase("absolute", lambda s: with_absolute(normal(4, 6, seed=s)), (6,)),
    MapCase(
        "norm",
        lambda s: by_products(normal(6, 6, seed=s), norm=spectral_norm(normal(6, 6, seed=s))),
        (6,),
        keeps_shape=True,
    ),
    MapCase(
        "products",
        lambda s: by_products(normal(6, 6, seed=s), failure_probability=FAILURE),
        (6,),
        lmm.Kind.PROBABLE,
        keeps_shape=True,
    ),
    MapCase("of somebody else", lambda s: Turned(4), (4, 2), keeps_shape=True),
]


def require_twins(atom: lmm.Atom, twin: lmm.Atom, x: Tensor) -> None:
    """Check an atom against its dense twin on flattened iterates."""
    flat = x.flatten(1)
    found, expected = atom.evaluate(x), twin.evaluate(flat)
    torch.testing.assert_close(found.value, expected.value)
    torch.testing.assert_close(found.gradient.flatten(1), expected.gradient)
    v = normal(*x.shape, seed=7)
    product = hessian_product(atom.__call__, x)(v).flatten(1)
    torch.testing.assert_close(product, hessian_product(twin.__call__, flat)(v.flatten(1)))
