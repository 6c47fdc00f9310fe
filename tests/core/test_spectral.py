"""Curvature that is diagonal in a separable basis: the laws, and cosines as they are defined."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from draws import normal
from learnmm import checks
from learnmm.spectral import SpectralCurvature, cosines, transformed

DTYPE = torch.float64
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@given(shape=SHAPES, batch=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_it_is_a_curvature(shape: tuple[int, ...], batch: int, seed: int) -> None:
    bases = tuple(cosines(n) for n in shape)
    curvature = SpectralCurvature(normal(batch, *shape, seed=seed).exp(), bases)
    checks.assert_curvature(curvature, normal(batch, *shape, seed=seed + 1))


@given(seed=st.integers(0, 10**6))
def test_frequencies_without_curvature_are_not_moved_along(seed: int) -> None:
    entries = normal(2, 3, 4, seed=seed).exp()
    entries[:, 0, 0] = 0.0
    curvature = SpectralCurvature(entries, (cosines(3), cosines(4)))
    checks.assert_curvature(curvature, normal(2, 3, 4, seed=seed + 1))
    constant = torch.ones(2, 3, 4, dtype=DTYPE)
    assert float(curvature.solve(constant).abs().max()) < 64 * torch.finfo(DTYPE).eps * float(
        (1 / entries[:, 1:]).max()
    )


@given(n=st.integers(1, 40))
def test_cosines_are_orthonormal_and_what_they_say(n: int) -> None:
    basis = cosines(n)
    slack = 8 * n * torch.finfo(DTYPE).eps
    torch.testing.assert_close(basis @ basis.mT, torch.eye(n, dtype=DTYPE), rtol=0, atol=slack)
    k, i = n // 2, n // 3
    size = math.sqrt((2 if k else 1) / n)
    assert math.isclose(
        float(basis[k, i]), size * math.cos(math.pi * k * (2 * i + 1) / (2 * n)), abs_tol=slack
    )


def test_a_symmetric_blur_with_mirrored_edges_is_diagonal_in_cosines() -> None:
    """The reason for cosines: there it is exact."""
    n, kernel = 9, torch.tensor([0.25, 0.5, 0.25], dtype=DTYPE)
    units = torch.eye(n, dtype=DTYPE)
    padded = torch.cat([units[:, :1], units, units[:, -1:]], 1)
    blur = sum(w * padded[:, k : k + n] for k, w in enumerate(kernel))
    in_cosines = cosines(n) @ blur @ cosines(n).mT
    off = in_cosines - torch.diag(in_cosines.diagonal())
    assert float(off.abs().max()) < 16 * n * torch.finfo(DTYPE).eps


@given(seed=st.integers(0, 10**6))
def test_dimensions_are_transformed_each_by_its_matrix(seed: int) -> None:
    v, left, right = normal(2, 3, 4, seed=seed), normal(3, 3, seed=seed), normal(4, 4, seed=seed)
    both = transformed(v, (left, right))
    torch.testing.assert_close(both, left @ v @ right.mT)


@pytest.mark.parametrize("bases", [(), (cosines(3),), (cosines(3), cosines(5))])
def test_bases_that_do_not_fit_are_refused(bases: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(ValueError, match=r"a square matrix for each of the sides \(3, 4\), got "):
        SpectralCurvature(torch.ones(2, 3, 4, dtype=DTYPE), bases)


@given(seed=st.integers(0, 10**6))
def test_a_grid_may_have_another_shape_than_the_iterate(seed: int) -> None:
    basis = torch.linalg.qr(normal(6, 6, seed=seed)).Q
    curvature = SpectralCurvature(normal(2, 6, seed=seed).exp(), (basis,))
    checks.assert_curvature(curvature, normal(2, 3, 2, seed=seed + 1))
