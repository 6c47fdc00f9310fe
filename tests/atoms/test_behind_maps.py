"""Atoms take every kind of linear map: values, gradients, bounds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm.atoms import SmootherBound
from learnmm.checks import assert_majorant
from learnmm.objective import hessian_product
from maps import FAILURE, MAPS, MapCase, by_products, matrix_of, normal, spectral_norm

by_map = pytest.mark.parametrize("case", MAPS, ids=lambda case: case.name)
by_bound = pytest.mark.parametrize("bound", SmootherBound)
SQUARE = [case for case in MAPS if case.keeps_shape]
by_square_map = pytest.mark.parametrize("case", SQUARE, ids=lambda case: case.name)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")

ATOMS: dict[str, Callable[[Tensor], lmm.Atom]] = {
    "quadratic": lmm.Quadratic,
    "cauchy": lambda y: lmm.HalfQuadratic(y, "cauchy"),
    "cosine": lmm.CosineDistance,
    "cosine pointwise": lambda y: lmm.CosineDistance(y, "pointwise"),
}
by_atom = pytest.mark.parametrize("name", ATOMS)


def weakest(*kinds: lmm.Kind) -> lmm.Kind:
    return lmm.Kind(max(kinds))


def require_twins(atom: lmm.Atom, twin: lmm.Atom, x: Tensor) -> None:
    """Check an atom against its dense twin on flattened iterates."""
    flat = x.flatten(1)
    found, expected = atom.evaluate(x), twin.evaluate(flat)
    torch.testing.assert_close(found.value, expected.value)
    torch.testing.assert_close(found.gradient.flatten(1), expected.gradient)
    v = normal(*x.shape, seed=7)
    product = hessian_product(atom.__call__, x)(v).flatten(1)
    torch.testing.assert_close(product, hessian_product(twin.__call__, flat)(v.flatten(1)))


@by_map
@by_atom
def test_atoms_behind_a_map(case: MapCase, name: str) -> None:
    linear, x = case.build(3), case.point(4)
    y = normal(*linear(x).shape, seed=5)
    atom = ATOMS[name](y) @ linear
    atom.check(x)
    require_twins(atom, ATOMS[name](y.flatten(1)) @ matrix_of(linear, x), x)
    bound = atom.bound(x)
    assert bound.kind is weakest(ATOMS[name](y).bound(linear(x)).kind, case.kind)
    assert bound.failure_probability == linear.failure_probability
    assert_majorant(None, atom, x)


@by_square_map
@by_bound
def test_a_smoother_may_be_any_map_that_keeps_the_shape(
    case: MapCase, bound: SmootherBound
) -> None:
    linear, x = case.build(3), case.point(4)
    prior = lmm.LinearSmootherPrior(linear, bound)
    prior.check(x)
    matrix = matrix_of(linear, x)
    require_twins(prior, lmm.LinearSmootherPrior(matrix, bound), x)
    own = lmm.Kind.GLOBAL if bound is SmootherBound.GLOBAL else lmm.Kind.POINTWISE
    found = prior.bound(x)
    assert found.kind is weakest(own, case.kind)
    assert found.failure_probability == linear.failure_probability
    assert (found.curvature.largest() >= by_formula(matrix, x, bound) * (1 - 1e-9)).all()
    assert_majorant(None, prior, x)


def by_formula(matrix: Tensor, x: Tensor, bound: SmootherBound) -> Tensor:
    """``c(s) (1 / |x|^2 + |S|^2 / |S x|^2)`` with the norm of the matrix itself."""
    flat = x.flatten(1)
    smooth = flat @ matrix.mT
    s = torch.cosine_similarity(flat, smooth)
    if bound is SmootherBound.GLOBAL:
        constant = (1 + s) + (2 * (1 + s)).sqrt()
    else:
        constant = torch.maximum(1 + s, (1 - s * s).sqrt())
    squares = [(v * v).sum(1) for v in (flat, smooth)]
    return constant * (1 / squares[0] + spectral_norm(matrix) ** 2 / squares[1])


def test_smoothers_are_matrices_and_operators() -> None:
    assert {type(case.build(0)) for case in SQUARE} == {lmm.MatrixMap, lmm.LinearOperator}
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
            lmm.subsampled_fourier(torch.ones(4, dtype=torch.bool)),
            ValueError,
            r"square linear map.*got one from \(4,\) to \(2, 4\)",
        ),
    ],
)
def test_smoothers_keep_the_shape(smoother: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lmm.LinearSmootherPrior(smoother)  # type: ignore[arg-type]


def test_a_smoother_checks_the_iterate() -> None:
    prior = lmm.LinearSmootherPrior(lmm.convolution(torch.ones(3).double(), (5,)))
    with pytest.raises(ValueError, match=r"acts on iterates \(B, 5\), got x of shape \(2, 4\)"):
        prior.check(normal(2, 4))


@pytest.mark.parametrize("other", [1.0, "f", None])
def test_nothing_but_a_map_stands_behind_an_atom(other: object) -> None:
    with pytest.raises(TypeError):
        lmm.Quadratic(torch.ones(2, 3)) @ other  # type: ignore[operator]
