"""The checks: right answers pass, wrong ones are caught, and messages say where and by how much."""

import doctest
import importlib

import pytest
import torch

import learnmm as lmm
from draws import normal
from learnmm import Kind, checks
from learnmm.checks import (
    LawViolation,
    assert_batch_independent,
    assert_descent,
    assert_interval,
    assert_majorant,
)


@pytest.mark.parametrize(
    "module",
    [
        "adjoint",
        "dominates",
        "independent",
        "loop",
        "majorant",
        "operators",
        "proposer",
        "rays",
        "unmodified",
    ],
)
def test_examples_run(module):
    failed, tried = doctest.testmod(importlib.import_module(f"learnmm.checks.{module}"))
    assert tried > 0
    assert failed == 0


def test_violations_are_assertion_errors():
    assert issubclass(LawViolation, AssertionError)
    assert "assert_majorant" in checks.__all__


# Majorants.


def claim(kind, level, radius=None):
    """A majorant that claims one number everywhere."""

    def majorant(x, aux=None):
        value = torch.full((len(x),), float(level), dtype=x.dtype)
        reach = None if radius is None else torch.full((len(x),), float(radius), dtype=x.dtype)
        return lmm.Bound(kind, lmm.curvature.ScalarCurvature(value), reach)

    return majorant


def quartic(x):
    """Convex, curvature ``12 x^2``: no global bound, but one within any radius."""
    return (x**4).flatten(1).sum(1)


def test_a_region_is_searched_within_its_radius_and_up_to_it():
    x = torch.ones(5, 2).double()
    # f(1 + d) - f(1) - 4 d = 6 d^2 + 4 d^3 + d^4: curvature 2 (6 + 4 r + r^2) for |d| <= r.
    for radius in (1e-3, 0.5, 3.0):
        needed = 2 * (6 + 4 * radius + radius**2)
        assert_majorant(claim(Kind.REGION, needed, radius), quartic, x)
        with pytest.raises(LawViolation, match="REGION bound broken"):
            assert_majorant(claim(Kind.REGION, needed * (1 - 1e-6), radius), quartic, x)
    with pytest.raises(LawViolation, match="GLOBAL"):
        assert_majorant(claim(Kind.GLOBAL, 1e6), quartic, x)


@pytest.mark.parametrize("kind", [Kind.POINTWISE, Kind.PROBABLE])
@pytest.mark.parametrize("n", [3, 250])
def test_pointwise_looks_at_the_hessian_alone(kind, n):
    x = torch.ones(2, n).double()
    assert_majorant(claim(kind, 12.0), quartic, x)
    with pytest.raises(LawViolation, match=rf"{kind.name}.*problem"):
        assert_majorant(claim(kind, 12 * (1 - 1e-6)), quartic, x)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 250)])
def test_the_worst_problem_is_named(shape):
    """A bump in one problem of the batch, narrow against the scales of the others."""
    height = torch.tensor([0.0, 0.0, 1.0, 0.0]).double()
    x = normal(*shape)

    def fun(z):
        return height * torch.sin(z).flatten(1).sum(1) + (z * z).flatten(1).sum(1) / 2

    assert_majorant(claim(Kind.GLOBAL, 2.0), fun, x)
    with pytest.raises(LawViolation, match=r"problem 2: f\(z\) = .* lies above Q\(z; x\) = .*"):
        assert_majorant(claim(Kind.GLOBAL, 1.5), fun, x)


def test_the_factor_is_reported():
    with pytest.raises(LawViolation) as caught:
        assert_majorant(claim(Kind.GLOBAL, 1.0), lambda x: 2 * (x * x).sum(1), normal(3, 4))
    assert float(str(caught.value).rsplit(" ", 1)[1]) == pytest.approx(4.0, rel=1e-4)


def test_infinite_values_count_and_undefined_ones_do_not():
    x = torch.ones(2, 1).double()
    with pytest.raises(LawViolation):
        assert_majorant(claim(Kind.GLOBAL, 1e3), lambda x: torch.exp(x * x).sum(1), x)
    # A logarithm is undefined beyond zero, and steeper than any quadratic towards it.
    with pytest.raises(LawViolation):
        assert_majorant(claim(Kind.GLOBAL, 10.0), lambda x: -torch.log(x).sum(1), x)
    assert_majorant(claim(Kind.GLOBAL, 1e-3), lambda x: torch.log(x).sum(1), x)


def test_callables_objectives_and_atoms_are_taken():
    atom, x = lmm.Quadratic(normal(3, 4)), normal(3, 4, seed=1)
    for fun in (atom, lmm.objective.CallableObjective(atom), lambda z: atom(z)):
        assert_majorant(claim(Kind.GLOBAL, 1.0), fun, x)
    assert_majorant(None, atom, x)
    with pytest.raises(TypeError, match="Atom is needed, got function"):
        assert_majorant(None, lambda z: atom(z), x)
    with pytest.raises(TypeError, match="must return a Bound, got int"):
        assert_majorant(lambda x, aux: 1, atom, x)


def test_a_missing_digit_in_a_value_is_caught():
    """Rounding is allowed, a hundred times more is not."""
    eps = torch.finfo(torch.float64).eps
    x = normal(20, 3)

    def noisy(z, size):
        return (z * z).sum(1) / 2 + size * eps * torch.sin(1e9 * z.detach()).sum(1)

    assert_majorant(claim(Kind.GLOBAL, 1.0), lambda z: noisy(z, 1.0), x)
    with pytest.raises(LawViolation):
        assert_majorant(claim(Kind.GLOBAL, 1.0), lambda z: noisy(z, 1e4), x)


# Intervals.


def test_an_interval_that_leaks_is_caught():
    class Leaky(lmm.Projection):
        def __call__(self, multipliers):
            return super().__call__(multipliers) + self.slip

    curvature = lmm.curvature.DiagonalCurvature(normal(2, 3).exp())
    for slip, law in ((1e-6, r"P <= 1.5 B\^\+"), (-1e-6, r"0.1 B\^\+ <= P")):
        Leaky.slip = slip
        with pytest.raises(LawViolation, match=law):
            assert_interval(Leaky(0.1, 1.5), curvature, normal(2, 3))
    assert_interval(lmm.Projection(0.1, 1.5), curvature, normal(2, 3))


# The loop.


def welsch(batch=3):
    return lmm.HalfQuadratic(torch.zeros(batch, 4).double(), "welsch"), normal(batch, 4)


def test_descent_passes_and_sees_what_breaks_it():
    atom, x = welsch()
    assert_descent(lmm.ProjectedMMOptimizer(atom), x)
    assert_descent(lmm.ProjectedMMOptimizer(atom, settings=lmm.SolveSettings(safeguard=None)), x)
    # Unverified steps on a bound that is forty times too small go up.
    reckless = lmm.ProjectedMMOptimizer(
        atom, majorant=claim(Kind.GLOBAL, 0.025), settings=lmm.SolveSettings(safeguard=None)
    )
    with pytest.raises(LawViolation, match="step 1: the objective does not rise"):
        assert_descent(reckless, 0.1 * x)


def broken_step(change):
    """An optimizer whose step is spoiled afterwards."""

    class Broken(lmm.ProjectedMMOptimizer):
        def step(self, state):
            following, info = super().step(state)
            return change(following), info

    atom, x = welsch()
    return Broken(atom, settings=lmm.SolveSettings(gtol=1e-1)), x


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (lambda s: s._replace(x=s.x * torch.nan), "finite"),
        (lambda s: s._replace(value=s.value * torch.inf), "finite"),
        (lambda s: s._replace(x=s.x * (1 + 1e-9)), "keeps its iterate"),
        (lambda s: s._replace(value=s.value - 0.1), "values belong"),
    ],
)
def test_descent_sees_spoiled_states(change, law):
    optimizer, x = broken_step(change)
    with pytest.raises(LawViolation, match=law):
        assert_descent(optimizer, x)


@pytest.mark.parametrize("leak", [None, "mean gradient", "order"])
def test_batch_independence_sees_leaks(leak):
    y = normal(4, 3, seed=1)

    def make(indices):
        def majorant(x, aux=None):
            level = torch.ones(len(x)).double()
            if leak == "mean gradient":
                level = level + (x - y[indices]).square().mean()
            if leak == "order":
                level = level + torch.arange(len(x))
            return lmm.Bound(Kind.GLOBAL, lmm.curvature.ScalarCurvature(level))

        optimizer = lmm.ProjectedMMOptimizer(lmm.HalfQuadratic(y[indices]), majorant=majorant)
        return optimizer, torch.zeros_like(y[indices])

    if leak is None:
        assert_batch_independent(make, 4)
        return
    with pytest.raises(LawViolation, match=r"problems \[.*step 1"):
        assert_batch_independent(make, 4)
