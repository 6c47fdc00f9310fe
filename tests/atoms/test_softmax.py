"""Softmax cross-entropy: values to their last digits, gradients, and a bound that is sharp."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.atoms import CenteredCurvature
from learnmm.checks import LawViolation, assert_curvature, assert_interval, assert_majorant
from learnmm.checks.laws import dense
from learnmm.hessian import hessian_product
from learnmm.objective import differentiate

EPS = torch.finfo(torch.float64).eps
BATCH = 40


def one_hot(scores: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).double()


TARGETS = {
    "classes": one_hot(normal(BATCH, 3, 4, seed=1)),
    "chances": (3 * normal(BATCH, 3, 4, seed=1)).softmax(-1),
    "two": one_hot(normal(BATCH, 3, 2, seed=1)),
    "one row": one_hot(normal(BATCH, 5, seed=1)),
}
MATRIX = normal(3, 6, seed=2)
by_target = pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)


def spread(x: Tensor) -> Tensor:
    """Logits from tiny to far apart."""
    size = 10 ** torch.linspace(-3, 3, len(x), dtype=x.dtype)
    return x * size.reshape(-1, *([1] * (x.dim() - 1)))


@by_target
def test_no_point_lies_above_the_majorant(targets: Tensor) -> None:
    atom, x = lmm.Softmax(targets), spread(normal(*targets.shape, seed=3))
    assert atom.bound(x).kind is lmm.Kind.GLOBAL
    assert_majorant(None, atom, x)


@pytest.mark.parametrize("form", ["structured", "uniform", "separable"])
def test_no_point_lies_above_the_majorant_after_a_map(form: Any) -> None:
    targets = TARGETS["classes"]
    atom = lmm.Softmax(targets) @ lmm.linear.MatrixMap(MATRIX, form=form)
    x = spread(normal(BATCH, 6, 4, seed=3))
    assert_majorant(None, atom, x, points=30, search_steps=30)
    ridge = lmm.Quadratic(torch.zeros_like(x), 0.3)
    assert_majorant(None, atom + ridge, x, points=30, search_steps=30)


def test_the_bound_is_attained_between_two_classes() -> None:
    """At one half each the Hessian has the eigenvalue 1/2, so no smaller constant works."""
    z = torch.tensor([[0.0, 0.0, -60.0]], dtype=torch.float64)
    atom = lmm.Softmax(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
    hessian = dense(hessian_product(atom, z), z)
    assert float(torch.linalg.eigvalsh(hessian)[0, -1]) == pytest.approx(0.5, rel=1e-12)
    assert_majorant(None, atom, z)
    with pytest.raises(LawViolation, match="GLOBAL"):
        assert_majorant(lambda x, aux: atom.bound(x).scaled(0.999), atom, z)


@by_target
def test_the_curvature_dominates_every_hessian(targets: Tensor) -> None:
    atom, x = lmm.Softmax(targets), spread(normal(*targets.shape, seed=4))
    gap = dense(atom.bound(x).curvature.apply, x) - dense(hessian_product(atom, x), x)
    assert float(torch.linalg.eigvalsh(gap).min()) > -1e-14


@by_target
def test_gradients_agree_three_ways(targets: Tensor) -> None:
    atom, x = lmm.Softmax(targets), 3 * normal(*targets.shape, seed=5)
    value, gradient, _ = atom.evaluate(x)
    derived = differentiate(atom.measure, x)
    torch.testing.assert_close(value, derived.value, rtol=0, atol=0)
    torch.testing.assert_close(gradient, derived.gradient, rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(gradient, x.softmax(-1) - targets, rtol=1e-9, atol=1e-14)
    plain = -(targets * x.log_softmax(-1)).flatten(1).sum(1)
    torch.testing.assert_close(value, plain, rtol=1e-12, atol=1e-13)


def test_ties_have_the_derivative() -> None:
    """The largest logit stands for the scale, and which of several equal ones must not matter."""
    x = torch.zeros(1, 3, dtype=torch.float64)
    targets = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    atom = lmm.Softmax(targets)
    expected = torch.full_like(x, 1 / 3) - targets
    torch.testing.assert_close(atom.evaluate(x).gradient, expected, rtol=1e-14, atol=1e-16)
    torch.testing.assert_close(
        differentiate(atom.measure, x).gradient, expected, rtol=1e-14, atol=1e-16
    )
    hessian = dense(hessian_product(atom, x), x)[0]
    torch.testing.assert_close(hessian, torch.eye(3).double() / 3 - 1 / 9, rtol=1e-13, atol=1e-15)


@given(
    gap=st.floats(-40, 700),
    second=st.floats(0, 40),
    shift=st.sampled_from([0.0, -300.0, 1e3]),
)
def test_values_and_gradients_keep_their_digits(gap: float, second: float, shift: float) -> None:
    """Relative accuracy down to the smallest losses: the descent test lives from it."""
    z = torch.tensor([[shift, shift - gap, shift - gap - second]], dtype=torch.float64)
    atom = lmm.Softmax(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
    value, gradient, _ = atom.evaluate(z)
    with localcontext() as context:
        context.prec = 700
        powers = [Decimal(float(t)).exp() for t in z[0]]
        total = sum(powers)
        loss = float((total / powers[0]).ln())
        chances = [float((powers[1] + powers[2]) / total), *(float(p / total) for p in powers[1:])]
    allowed = 16 * EPS * max(1.0, abs(gap))
    assert float(value) == pytest.approx(loss, rel=allowed, abs=1e-300)
    assert float(-gradient[0, 0]) == pytest.approx(chances[0], rel=allowed, abs=1e-300)
    for k in (1, 2):
        assert float(gradient[0, k]) == pytest.approx(chances[k], rel=allowed * 2, abs=1e-300)


def test_two_classes_are_the_logistic_loss() -> None:
    margins = normal(BATCH, 3, seed=6)
    labels = torch.where(normal(BATCH, 3, seed=7) > 0, 1.0, -1.0).double()
    logits = torch.stack([margins / 2, -margins / 2], -1)
    targets = torch.stack([labels > 0, labels < 0], -1).double()
    soft, binary = lmm.Softmax(targets)(logits), lmm.Logistic(labels)(margins)
    torch.testing.assert_close(soft, binary, rtol=1e-13, atol=1e-14)


def test_a_constant_in_all_logits_changes_nothing() -> None:
    targets = TARGETS["chances"]
    atom, x = lmm.Softmax(targets), normal(*targets.shape)
    torch.testing.assert_close(atom(x + normal(BATCH, 3, 1, seed=8)), atom(x))
    step = atom.bound(x).curvature.solve(atom.evaluate(x).gradient)
    torch.testing.assert_close(step.sum(-1), torch.zeros(BATCH, 3, dtype=torch.float64))


def test_steps_of_the_sum_stay_centred() -> None:
    """With a map and a ridge the scalar form loses nothing: iterates never leave the centre."""
    energy = lmm.Softmax(TARGETS["classes"]) @ MATRIX
    energy = energy + lmm.Quadratic(torch.zeros(BATCH, 6, 4, dtype=torch.float64), 0.1)
    x0 = torch.zeros(BATCH, 6, 4, dtype=torch.float64)
    result = lmm.minimize(energy, x0, proposer=None, settings=lmm.SolveSettings(max_iter=30))
    assert float(result.x.sum(-1).abs().max()) < 1e-12
    assert int(result.certificate.rejected.sum()) == int(result.certificate.violations.sum()) == 0


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 2)])
def test_the_centred_curvature_keeps_the_laws(shape: tuple[int, ...]) -> None:
    curvature = CenteredCurvature(torch.tensor([0.5, 2.0, 1e-3], dtype=torch.float64))
    like = normal(3, *shape)
    assert_curvature(curvature, like)
    assert_interval(lmm.Projection(0.1, 1.9), curvature, like)


def test_the_centred_curvature_is_invalid_where_it_vanishes() -> None:
    values = torch.tensor([0.0, -1.0, torch.nan, torch.inf, 1.0])
    assert CenteredCurvature(values).valid().tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.ones(2, 1), r"K >= 2 classes, got shape \(2, 1\)"),
        (torch.ones(2), r"got shape \(2,\)"),
        (torch.ones(2, 3, dtype=torch.int64), "dtype torch.int64"),
        (torch.ones(2, 3), "sums from 3 to 3"),
        (torch.tensor([[1.5, -0.5]]), "entries from -0.5"),
        (torch.tensor([[torch.nan, 1.0]]), "entries from nan"),
    ],
)
def test_targets_are_probabilities(targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lmm.Softmax(targets)


@pytest.mark.parametrize(
    "x", [torch.zeros(2, 3), torch.zeros(2, 2).double(), torch.zeros(2, 2, device="meta")]
)
def test_logits_fit_the_targets(x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Softmax has targets of shape \(2, 2\).*; got"):
        lmm.Softmax(torch.eye(2)).check(x)
