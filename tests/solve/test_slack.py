"""The allowance for rounding covers what rounding does, and hides no failing bound."""

import pytest
import torch

import learnmm as lmm
from draws import normal
from learnmm.solve.safeguard import ROUNDING, rounding_slack
from learnmm.vectors import norm

by_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def test_the_allowance_adds_up():
    value = torch.tensor([2.0, -4.0])
    eps = torch.finfo(torch.float32).eps
    assert torch.equal(rounding_slack(value), ROUNDING * eps * value.abs())
    moved = torch.tensor([1.0, 0.0])
    assert torch.equal(rounding_slack(value, 0.5, moved), rounding_slack(value) + moved + 0.5)


@pytest.mark.parametrize("shape", [(1, 300), (4, 6), (30, 3), (64, 500), (300, 300)])
@pytest.mark.parametrize("noise", [1.0, 1e-3, 1e-6])
def test_values_are_within_the_allowance_of_the_exact_ones(shape, noise):
    """Of float32 values against float64, next to an optimum where ``A x - y`` cancels."""
    rows, columns = shape
    matrix, x = normal(rows, columns).float(), normal(4, columns, seed=1).float()
    exact_image = x.double() @ matrix.double().mT
    y = (exact_image + noise * normal(4, rows, seed=2)).float()
    atom = 0.5 * lmm.least_squares(matrix, y) + lmm.Quadratic(x)
    evaluation = atom.evaluate(x)
    exact = 0.25 * (exact_image - y.double()).square().sum(1)
    eps = torch.finfo(torch.float32).eps
    terms = norm(evaluation.gradient) * norm(x) + atom.rounding(evaluation.aux, norm(x))
    allowed = rounding_slack(evaluation.value, moved=eps * terms)
    # It is of first order. Where nothing is left of A x - y, the second is all there is.
    allowed += (eps * (norm(y) + torch.linalg.matrix_norm(matrix) * norm(x))) ** 2 / 4
    assert ((evaluation.value.double() - exact).abs() <= allowed).all()


def test_parts_and_weights_add_up_what_they_hide():
    matrix, y, x = normal(5, 3), normal(2, 5, seed=1), normal(2, 3, seed=2)
    fit = lmm.least_squares(matrix, y)
    length = norm(x)
    alone = fit.rounding(fit.evaluate(x).aux, length)
    image = x @ matrix.mT
    # |grad f_j| (|A x + c| + |A|_F |x|), with the gradient of 1/2 |z - y|^2.
    expected = norm(image - y) * (norm(image) + torch.linalg.matrix_norm(matrix) * length)
    torch.testing.assert_close(alone, expected)
    both = 3.0 * fit + lmm.Quadratic(x)
    torch.testing.assert_close(both.rounding(both.evaluate(x).aux, length), 3 * alone)
    twice = fit @ torch.eye(3).double()
    inner = norm(x) + 3**0.5 * length
    outer = norm((image - y) @ matrix) * inner
    nested = twice.rounding(twice.evaluate(x).aux, length)
    torch.testing.assert_close(nested, outer + fit.rounding(fit.evaluate(x).aux, inner))
    assert lmm.Quadratic(x).rounding((), length) == 0.0


@by_dtype
@pytest.mark.parametrize("proposer", [lmm.LimitedMemory(), None], ids=["default", "own"])
@pytest.mark.parametrize("condition", [1e1, 1e3])
def test_noise_at_an_optimum_is_no_violation(dtype, proposer, condition):
    """More rows than unknowns: the residual stays, the gradient goes, the terms are large."""
    left = torch.linalg.qr(normal(120, 40))[0]
    right = torch.linalg.qr(normal(40, 40, seed=1))[0]
    spectrum = torch.logspace(0, -torch.tensor(condition).log10().item(), 40).double()
    matrix = ((left * spectrum) @ right.mT).to(dtype)
    x = 100 * normal(3, 40, seed=2).to(dtype)
    y = x @ matrix.mT + 1e-2 * normal(3, 120, seed=3).to(dtype)
    result = lmm.minimize(
        lmm.least_squares(matrix, y),
        x + 1,
        proposer=proposer,
        settings=lmm.SolveSettings(gtol=0, max_iter=60),
    )
    assert not result.certificate.violations.any()
    assert result.certificate.monotone.all()


@by_dtype
def test_a_bound_that_is_a_percent_too_small_is_still_seen(dtype):
    """The allowance hides rounding, and not the failure of a bound."""
    matrix = normal(30, 20).to(dtype)
    atom = lmm.least_squares(matrix, normal(3, 30, seed=1).to(dtype))

    def short(x, aux):
        return atom.bound_at(x, aux).scaled(0.99)

    result = lmm.minimize(
        atom,
        torch.zeros(3, 20, dtype=dtype),
        majorant=short,
        proposer=None,
        settings=lmm.SolveSettings(max_iter=1),
    )
    assert (result.certificate.violations == 1).all()
