"""Gradients of a stationary point."""

from __future__ import annotations

import torch
from torch import nn

import learnmm as lmm
from learnmm.unroll.implicit import least_norm_solve
from unrolling import DTYPE


def test_implicit_gradient_is_that_of_the_minimizer() -> None:
    """Ridge regression, whose minimizer has a derivative in closed form."""
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(8, 5, generator=generator, dtype=DTYPE)
    y = torch.randn(2, 8, generator=generator, dtype=DTYPE)
    weight = nn.Parameter(torch.tensor(0.7, dtype=DTYPE))
    outer = torch.randn(2, 5, generator=generator, dtype=DTYPE)
    solver = lmm.UnrolledMM(
        lambda d: (
            lmm.least_squares(matrix, d) + weight * lmm.Quadratic(torch.zeros(2, 5, dtype=DTYPE))
        ),
        start=lambda d: torch.zeros(2, 5, dtype=DTYPE),
        steps=60,
        backward="implicit",
    )
    (gradient,) = torch.autograd.grad((outer * solver(y).x).sum(), [weight])
    exact = weight.detach().clone().requires_grad_()
    normal = matrix.mT @ matrix + exact * torch.eye(5, dtype=DTYPE)
    minimizer = torch.linalg.solve(normal, (y @ matrix).mT).mT
    torch.testing.assert_close(gradient, torch.autograd.grad((outer * minimizer).sum(), [exact])[0])


def test_least_norm_solve_agrees_with_the_pseudo_inverse() -> None:
    """Indefinite and singular, several problems at once, each at its own pace."""
    generator = torch.Generator().manual_seed(6)
    basis = torch.linalg.qr(torch.randn(3, 6, 6, generator=generator, dtype=DTYPE))[0]
    spectrum = torch.tensor(
        [[3.0, -2, 1, 0, 0, 0], [1.0, 1, 1, 1, 1, 1], [5.0, 4, -3, 2, 1, 0]], dtype=DTYPE
    )
    hessian = basis @ torch.diag_embed(spectrum) @ basis.mT
    target = torch.randn(3, 6, generator=generator, dtype=DTYPE)
    found = least_norm_solve(lambda v: (hessian @ v[..., None])[..., 0], target, 1e-10, 100)
    expected = (torch.linalg.pinv(hessian) @ target[..., None])[..., 0]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    zero = least_norm_solve(lambda v: 0 * v, target, 1e-6, 10)
    assert torch.equal(zero, torch.zeros_like(target))
