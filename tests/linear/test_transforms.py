"""Convolutions and Fourier transforms against plain sums, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm import checks
from learnmm.linear import Boundary
from maps import DTYPE, matrix_of, normal


def convolved(x: Tensor, kernel: Tensor, boundary: Boundary) -> Tensor:
    """``sum_j k_j x_{i - j}`` of one problem, entry by entry."""
    out = torch.zeros_like(x)
    for i in torch.cartesian_prod(*map(torch.arange, x.shape)).reshape(-1, x.dim()):
        for j in torch.cartesian_prod(*map(torch.arange, kernel.shape)).reshape(-1, x.dim()):
            at = i - (j - torch.tensor(kernel.shape) // 2)
            inside = bool(((at >= 0) & (at < torch.tensor(x.shape))).all())
            if inside or boundary is Boundary.CIRCULAR:
                out[tuple(i)] += kernel[tuple(j)] * x[tuple(at % torch.tensor(x.shape))]
    return out


@pytest.mark.parametrize("boundary", Boundary)
@pytest.mark.parametrize(
    ("kernel", "shape"), [((3,), (5,)), ((5,), (5,)), ((3, 1), (4, 3)), ((3, 3, 1), (3, 4, 2))]
)
def test_convolution_is_the_sum(
    kernel: tuple[int, ...], shape: tuple[int, ...], boundary: Boundary
) -> None:
    k, x = normal(*kernel), normal(2, *shape, seed=1)
    operator = lmm.linear.convolution(k, shape, boundary)
    for i in range(2):
        torch.testing.assert_close(operator(x)[i], convolved(x[i], k, boundary))
    checks.assert_adjoint(operator, x)


def test_fourier_coefficients_are_the_orthonormal_ones() -> None:
    mask = torch.tensor([[True, False, True], [False, True, True]])
    operator, x = lmm.linear.subsampled_fourier(mask), normal(3, 2, 3)
    expected = torch.fft.fft2(x, norm="ortho")[:, mask]
    torch.testing.assert_close(operator(x)[:, 0], expected.real)
    torch.testing.assert_close(operator(x)[:, 1], expected.imag)
    checks.assert_adjoint(operator, x)
    everything = lmm.linear.subsampled_fourier(torch.ones(2, 3, dtype=torch.bool))
    torch.testing.assert_close(everything.adjoint(everything(x)), x)
    assert torch.linalg.matrix_norm(matrix_of(operator, x), 2) <= operator.norm(x)


def test_a_blur_without_negative_entries_has_the_sharpest_bound() -> None:
    operator = lmm.linear.convolution(torch.tensor([0.25, 0.5, 0.25], dtype=DTYPE), (8,))
    x = torch.ones(1, 8, dtype=DTYPE)
    pulled = operator.pull_back(lmm.curvature.ScalarCurvature(torch.ones(1, dtype=DTYPE)), x)
    assert float(pulled.largest()) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lmm.linear.convolution(torch.ones(2), (5,)), r"kernel of odd sizes, got \(2,\)"),
        (lambda: lmm.linear.convolution(torch.ones(3, dtype=torch.int64), (5,)), "torch.int64"),
        (lambda: lmm.linear.convolution(torch.ones(1, 1, 1, 1), (5,)), "1 to 3 dimensions"),
        (lambda: lmm.linear.convolution(torch.full((3,), torch.nan), (5,)), "finite kernel"),
        (
            lambda: lmm.linear.convolution(torch.ones(3), (5, 5)),
            r"\(3,\) does not fit into \(5, 5\)",
        ),
        (lambda: lmm.linear.convolution(torch.ones(7), (5,)), r"\(7,\) does not fit into \(5,\)"),
        (lambda: lmm.linear.convolution(torch.ones(3), (5,), "mirror"), "got 'mirror'"),
        (lambda: lmm.linear.subsampled_fourier(torch.ones(3)), "mask of bool.*float32"),
        (
            lambda: lmm.linear.subsampled_fourier(torch.zeros(3, dtype=torch.bool)),
            "keeps some frequency",
        ),
    ],
)
def test_transforms_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
