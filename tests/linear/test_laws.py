"""The laws of linear maps, for every kind of them, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from learnmm.checks import assert_adjoint, assert_dominates
from learnmm.checks.laws import dense
from maps import FAILURE, MAPS, MapCase, matrix_of, normal, spectral_norm

RELATIVE = 1e-10
by_map = pytest.mark.parametrize("case", MAPS, ids=lambda case: case.name)
seeds = st.integers(0, 2**16)
few = settings(max_examples=25)  # of many cases

# Torch says once per process that CSR is in beta; maps keep that from their users.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")


@by_map
@few
@given(seed=seeds)
def test_products_are_those_of_a_matrix_and_of_its_transpose(case: MapCase, seed: int) -> None:
    linear, x = case.build(seed), case.point(3, seed)
    matrix = matrix_of(linear, x)
    image = linear.apply(x)
    torch.testing.assert_close(image.flatten(1), x.flatten(1) @ matrix.mT)
    assert torch.equal(linear(x), image)
    z = normal(*image.shape, seed=seed)
    torch.testing.assert_close(linear.adjoint(z).flatten(1), z.flatten(1) @ matrix)
    assert linear.adjoint(z).shape == x.shape
    assert_adjoint(linear, x)


@by_map
def test_sizes_say_what_becomes_of_a_shape(case: MapCase) -> None:
    linear, x = case.build(0), case.point(2)
    acted = len(linear.domain)
    assert x.shape[1 : 1 + acted] == linear.domain
    assert linear(x).shape[1:] == (*linear.image, *x.shape[1 + acted :])
    assert linear.keeps_shape == case.keeps_shape == (linear(x).shape == x.shape)
    linear.check(x)


@by_map
@few
@given(seed=seeds)
def test_the_norm_is_an_upper_bound(case: MapCase, seed: int) -> None:
    linear, x = case.build(seed), case.point(2, seed)
    assert linear.norm(x) >= spectral_norm(matrix_of(linear, x)) * (1 - 1e-12)


@by_map
def test_what_is_certain_has_no_failure_probability(case: MapCase) -> None:
    linear = case.build(0)
    assert linear.kind is case.kind
    assert linear.failure_probability == (0 if case.kind is lmm.Kind.GLOBAL else FAILURE)


@by_map
@few
@given(seed=seeds)
def test_absolute_entries_are_at_least_those(case: MapCase, seed: int) -> None:
    linear, x = case.build(seed), case.point(2, seed)
    if linear.absolute is None:
        assert case.name in ("norm", "products", "fourier", "complex")
        return
    assert (linear.absolute.domain, linear.absolute.image) == (linear.domain, linear.image)
    absolute = matrix_of(linear.absolute, x)
    assert (absolute >= matrix_of(linear, x).abs() - 1e-14).all()
    assert_adjoint(linear.absolute, x)


def curvature_of(kind: str, like: Tensor, seed: int) -> lmm.curvature.Curvature:
    """A curvature of the image."""
    batch = len(like)
    if kind == "scalar":
        return lmm.curvature.ScalarCurvature(normal(batch, seed=seed).exp())
    if kind == "diagonal":
        return lmm.curvature.DiagonalCurvature((2 * normal(*like.shape, seed=seed)).exp())
    size = like.shape[1]
    basis = torch.linalg.qr(normal(size, size, seed=seed))[0][:, :2]
    spectrum = normal(batch, 2, seed=seed).exp()
    return lmm.curvature.LowRankCurvature(spectrum[:, 0], spectrum, basis[:, : spectrum.shape[1]])


@by_map
@few
@given(kind=st.sampled_from(["scalar", "diagonal", "low rank"]), seed=seeds)
def test_pulled_back_curvatures_dominate(case: MapCase, kind: str, seed: int) -> None:
    linear, x = case.build(seed), case.point(2, seed)
    image = linear(x)
    inner = curvature_of(kind, image, seed)
    matrix = matrix_of(linear, x)
    exact = matrix.mT @ dense(inner.apply, image) @ matrix
    pulled = linear.pull_back(inner, x)
    bound = dense(pulled.apply, x)
    scale = torch.linalg.matrix_norm(bound, 2)
    assert (torch.linalg.eigvalsh(bound - exact)[:, 0] >= -RELATIVE * scale).all()
    assert (pulled.largest() >= scale * (1 - RELATIVE)).all()
    assert_dominates(pulled, linear, x, inner)


@by_map
@few
@given(seed=seeds)
def test_a_radius_is_that_of_the_image(case: MapCase, seed: int) -> None:
    """The step that is stretched most stays within the radius of the image."""
    linear, x = case.build(seed), case.point(2, seed)
    radius = torch.tensor([2.0, 3.0], dtype=x.dtype)
    around = linear.pull_back_radius(radius)
    assert around is not None
    assert (around * spectral_norm(matrix_of(linear, x)) <= radius * (1 + 1e-12)).all()
    assert linear.pull_back_radius(None) is None


@by_map
def test_another_shape_is_refused(case: MapCase) -> None:
    linear = case.build(0)
    for x in (torch.ones(2, linear.domain[0] + 1, *case.shape[1:]).double(), torch.ones(3)):
        with pytest.raises(ValueError, match=r"acts on iterates \(B, .*got x of shape"):
            linear.check(x)
