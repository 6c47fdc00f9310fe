"""The smoother prior takes every map that keeps the shape: gradients, bounds, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm.atoms import SmootherBound
from learnmm.checks import assert_majorant
from maps import (
    FAILURE,
    MAPS,
    MapCase,
    by_products,
    matrix_of,
    normal,
    require_twins,
    spectral_norm,
)

SQUARE = [case for case in MAPS if case.keeps_shape]
by_square_map = pytest.mark.parametrize("case", SQUARE, ids=lambda case: case.name)
by_bound = pytest.mark.parametrize("bound", SmootherBound)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")


@by_square_map
@by_bound
@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_a_smoother_may_be_any_map_that_keeps_the_shape(
    case: MapCase, bound: SmootherBound, floor: float
) -> None:
    linear, x = case.build(3), case.point(4)
    prior = lmm.LinearSmootherPrior(linear, bound, floor)
    prior.check(x)
    matrix = matrix_of(linear, x)
    require_twins(prior, lmm.LinearSmootherPrior(matrix, bound, floor), x)
    own = lmm.Kind.GLOBAL if bound is SmootherBound.GLOBAL else lmm.Kind.POINTWISE
    found = prior.bound(x)
    assert found.kind is max(own, case.kind)
    assert found.failure_probability == linear.failure_probability
    assert (found.curvature.largest() >= by_formula(matrix, x, bound, floor) * (1 - 1e-9)).all()
    assert_majorant(None, prior, x)


def by_formula(matrix: Tensor, x: Tensor, bound: SmootherBound, floor: float) -> Tensor:
    """``c(s) (1 / |x|^2 + |S|^2 / |S x|^2)`` with the norm of the matrix itself."""
    flat = x.flatten(1)
    smooth = flat @ matrix.mT
    squares = [(v * v).sum(1) + floor**2 for v in (flat, smooth)]
    s = (flat * smooth).sum(1) / (squares[0] * squares[1]).sqrt()
    if bound is SmootherBound.GLOBAL:
        constant = (1 + s) + (2 * (1 + s)).sqrt()
    else:
        constant = torch.maximum(1 + s, (1 - s * s).sqrt())
    return constant * (1 / squares[0] + spectral_norm(matrix) ** 2 / squares[1])


def test_smoothers_are_matrices_and_operators() -> None:
    assert {type(case.build(0)) for case in SQUARE} >= {
        lmm.linear.MatrixMap,
        lmm.linear.LinearOperator,
    }
    assert {case.kind for case in SQUARE} == {lmm.Kind.GLOBAL, lmm.Kind.PROBABLE}


@by_bound
def test_a_probable_norm_leaves_nothing_certain(bound: SmootherBound) -> None:
    """What relaxation may scale is all of it; a sum with something proved keeps that."""
    matrix, x = normal(6, 6), normal(2, 6, seed=1)
    prior = lmm.LinearSmootherPrior(by_products(matrix, failure_probability=FAILURE), bound)
    found = prior.bound(x)
    assert found.certain is None
    assert found.kind is lmm.Kind.PROBABLE
    both = (prior + lmm.Quadratic(x)).bound(x)
    assert both.certain is not None
    assert both.failure_probability == FAILURE


@pytest.mark.parametrize(
    ("smoother", "error", "message"),
    [
        (3.0, TypeError, "LinearSmootherPrior expects a matrix or a linear map, got float"),
        (torch.ones(2, 3), ValueError, r"square linear map.*got one from \(3,\) to \(2,\)"),
        (
            lmm.linear.subsampled_fourier(torch.ones(4, dtype=torch.bool)),
            ValueError,
            r"square linear map.*got one from \(4,\) to \(2, 4\)",
        ),
    ],
)
def test_smoothers_keep_the_shape(smoother: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lmm.LinearSmootherPrior(smoother)  # type: ignore[arg-type]


def test_a_smoother_checks_the_iterate() -> None:
    prior = lmm.LinearSmootherPrior(lmm.linear.convolution(torch.ones(3).double(), (5,)))
    with pytest.raises(ValueError, match=r"acts on iterates \(B, 5\), got x of shape \(2, 4\)"):
        prior.check(normal(2, 4))


def test_a_smoother_of_eigenvectors_is_free() -> None:
    eigenvalues, vectors = torch.linalg.eigh(torch.diag(torch.arange(1.0, 6.0).double()))
    prior = lmm.LinearSmootherPrior(torch.diag(eigenvalues))
    assert float(prior(vectors).max()) < 1e-15


def test_smoothed_to_nothing_is_refused() -> None:
    prior = lmm.LinearSmootherPrior(torch.diag(torch.tensor([1.0, 0.0])))
    with pytest.raises(ValueError, match=r"S x vanishes for problems \[0\]"):
        lmm.minimize(prior, torch.tensor([[0.0, 1.0]]))


def test_a_floor_is_not_negative() -> None:
    with pytest.raises(
        ValueError, match="LinearSmootherPrior: floor must be non-negative and finite, got -1"
    ):
        lmm.LinearSmootherPrior(torch.eye(2), floor=-1)
