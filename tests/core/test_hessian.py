"""Hessian-vector products: every route to them gives the same, and one that fails is left."""

import pytest
import torch

import learnmm as lmm
from draws import normal
from learnmm.checks.laws import dense
from learnmm.hessian import Route, hessian_product


class Cube(torch.autograd.Function):
    """``x^3`` without a rule for the forward mode."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


def test_routes_agree_and_auto_falls_back():
    def smooth(x):
        return (torch.sin(x).cumsum(1) ** 2).flatten(1).sum(1)

    x, v = normal(3, 4, 2, seed=1), normal(3, 4, 2, seed=2)
    forward, reverse, auto = (
        hessian_product(smooth, x, route)(v) for route in (Route.FORWARD, Route.REVERSE, Route.AUTO)
    )
    assert torch.allclose(forward, reverse, rtol=1e-12)
    assert torch.equal(forward, auto)
    h = 1e-5
    gradient = lmm.objective.CallableObjective(smooth).evaluate
    difference = (gradient(x + h * v).gradient - gradient(x - h * v).gradient) / (2 * h)
    assert torch.allclose(forward, difference, atol=1e-7)

    cube = lambda x: Cube.apply(x).flatten(1).sum(1)  # noqa: E731
    expected = 6 * x * v
    assert torch.allclose(hessian_product(cube, x, "auto")(v), expected)
    assert torch.allclose(hessian_product(cube, x, "reverse")(v), expected)
    with pytest.raises((RuntimeError, NotImplementedError)):
        hessian_product(cube, x, "forward")(v)
    level = lmm.majorants.LanczosMajorant(cube)(x).curvature.largest()
    assert torch.allclose(level, (6 * x).flatten(1).amax(1), rtol=1e-10)


def test_hessian_products_are_symmetric():
    x = normal(3, 5)
    matrix = dense(hessian_product(lambda x: torch.logsumexp(x**2, 1), x), x)
    assert torch.allclose(matrix, matrix.mT, rtol=1e-12)
