"""Bounds get what they need, however an atom was evaluated, and refuse what is no curvature."""

import pytest
import torch
from torch import nn

import learnmm as lmm
from catalogue import ATOMS, Draw
from learnmm.atoms.softmax import CenteredCurvature

by_atom = pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)


@by_atom
def test_measure_brings_what_the_bound_needs(case):
    draw = Draw(3, torch.float64)
    atom, x = case.build(draw), case.point(draw)
    value, aux = atom.measure(x)
    evaluation = atom.evaluate(x)
    torch.testing.assert_close(value, evaluation.value)
    torch.testing.assert_close(atom(x), evaluation.value)
    v = torch.ones_like(x)
    expected = atom.bound_at(x, evaluation.aux)
    for bound in (atom.bound_at(x, aux), atom.bound(x)):
        assert bound.kind == expected.kind == case.kind
        torch.testing.assert_close(bound.curvature.apply(v), expected.curvature.apply(v))


@by_atom
def test_bounds_refuse_an_aux_that_is_not_theirs(case):
    draw = Draw(3, torch.float64)
    atom, x = case.build(draw), case.point(draw)
    if atom.measure(x)[1] == ():
        return  # needs nothing
    message = r"bound_at expects the aux of its own measure or evaluate at x, a t.* got"
    with pytest.raises(ValueError, match=message):
        atom.bound_at(x, ())


@pytest.mark.parametrize("bound", ["global", "pointwise"])
@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_a_smoother_may_be_an_operator(bound, boundary):
    kernel = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    blur = lmm.convolution(kernel, (8,), boundary)
    matrix = blur(torch.eye(8).double()).mT
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior = lmm.LinearSmootherPrior(blur, bound)
    dense = lmm.LinearSmootherPrior(matrix, bound)
    prior.check(x)
    torch.testing.assert_close(prior.evaluate(x).value, dense.evaluate(x).value)
    torch.testing.assert_close(prior.evaluate(x).gradient, dense.evaluate(x).gradient)
    assert prior.bound(x).kind == dense.bound(x).kind
    assert (prior.bound(x).curvature.largest() >= dense.bound(x).curvature.largest() * 0.999).all()
    lmm.checks.assert_majorant(None, prior, x)
    result = lmm.minimize(prior, x, settings=lmm.SolveSettings(max_iter=30))
    assert result.certificate.monotone.all()
    assert (result.fun < result.initial_fun).all()


def test_a_probable_norm_makes_a_probable_bound():
    roll = lmm.LinearOperator(lambda x: x.roll(1, 1), lambda z: z.roll(-1, 1), (6,), (6,))
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bound = lmm.LinearSmootherPrior(roll).bound(x)
    assert bound.kind is lmm.Kind.PROBABLE
    assert bound.failure_probability == roll.failure_probability
    lmm.checks.assert_majorant(None, lmm.LinearSmootherPrior(roll), x)


@pytest.mark.parametrize(
    ("smoother", "error", "message"),
    [
        (3.0, TypeError, "matrix or a linear map, got float"),
        (torch.ones(2, 3), ValueError, r"square.*got one from \(3,\) to \(2,\)"),
        (
            lmm.subsampled_fourier(torch.ones(4, dtype=torch.bool)),
            ValueError,
            r"square.*from \(4,\) to \(2, 4\)",
        ),
    ],
)
def test_smoothers_keep_the_shape(smoother, error, message):
    with pytest.raises(error, match=message):
        lmm.LinearSmootherPrior(smoother)


ONE, BASIS = torch.ones(2), torch.eye(3)[:, :2]
SCALAR = lmm.ScalarCurvature(ONE)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lmm.ScalarCurvature(3.0), TypeError, r"ScalarCurvature.value.*got float"),
        (lambda: lmm.ScalarCurvature(()), TypeError, "got tuple"),
        (lambda: lmm.ScalarCurvature(torch.tensor(3.0)), ValueError, r"shape \(B,\), got \(\)"),
        (lambda: lmm.ScalarCurvature(torch.ones(2, 1)), ValueError, r"got \(2, 1\)"),
        (lambda: lmm.ScalarCurvature(torch.ones(2).long()), TypeError, "floating-point.*int64"),
        (lambda: lmm.ScalarCurvature(ONE + 0j), TypeError, "floating-point.*complex64"),
        (lambda: CenteredCurvature(1.0), TypeError, r"CenteredCurvature.value.*got float"),
        (lambda: lmm.DiagonalCurvature([1.0]), TypeError, r"DiagonalCurvature.entries.*got list"),
        (lambda: lmm.DiagonalCurvature(torch.tensor(1.0)), ValueError, r"got \(\)"),
        (lambda: lmm.DiagonalCurvature(torch.ones(2, 3).bool()), TypeError, "bool"),
        (lambda: lmm.LowRankCurvature(0.0, torch.ones(2, 2), BASIS), TypeError, "shift.*float"),
        (lambda: lmm.LowRankCurvature(ONE, torch.ones(2), BASIS), ValueError, r"spectrum.*\(2,\)"),
        (lambda: lmm.LowRankCurvature(ONE, torch.ones(2, 2), None), TypeError, "basis.*NoneType"),
        (lambda: lmm.LowRankCurvature(ONE, torch.ones(2, 3), BASIS), ValueError, r"\(2, 3\)"),
        (lambda: lmm.LowRankCurvature(torch.ones(3), torch.ones(2, 2), BASIS), ValueError, "shift"),
        (lambda: lmm.Bound(0, SCALAR), TypeError, "Bound.kind must be a Kind, got 0"),
        (lambda: lmm.Bound(lmm.Kind.GLOBAL, 3.0), TypeError, "Bound.curvature.*got float"),
        (
            lambda: lmm.Bound(lmm.Kind.GLOBAL, SCALAR, certain=3.0),
            TypeError,
            "Bound.certain.*got float",
        ),
        (lambda: lmm.Bound(lmm.Kind.REGION, SCALAR, 1.0), TypeError, "Bound.radius.*got float"),
        (
            lambda: lmm.Bound(lmm.Kind.REGION, SCALAR, torch.ones(2, 1)),
            ValueError,
            r"Bound.radius.*got \(2, 1\)",
        ),
        (
            lambda: lmm.Bound(lmm.Kind.PROBABLE, SCALAR, failure_probability=2.0),
            ValueError,
            r"failure_probability must be in \[0, 1\], got 2.0",
        ),
    ],
)
def test_what_is_no_curvature_or_bound_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("make", [lmm.SpectralLSTM, lmm.DampedInverse])
def test_a_matrix_of_zeros_has_no_spectrum(make):
    with pytest.raises(ValueError, match=f"{make.__name__} expects a matrix with an entry"):
        make(torch.zeros(2, 3))


def test_values_of_sums_need_no_backward_pass():
    """What measures curvature differentiates values, and not the gradients behind the bounds."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double().requires_grad_(False)
    prior = lmm.AutoencoderPrior(network)

    def refuse(x):
        raise AssertionError("evaluated")

    prior.evaluate = refuse
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    energy = 2.0 * (prior @ torch.eye(4).double()) + lmm.Quadratic(x)
    assert energy(x).shape == (2,)
