"""The projection: interval and Loewner inequalities whatever is proposed, and the descent lemma."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import learnmm as lmm
from draws import normal
from learnmm.checks import LawViolation, assert_interval
from learnmm.solve.projection import Proposal, cut, multiplied_step, own_step
from learnmm.vectors import dot, norm

HOSTILE = [torch.nan, torch.inf, -torch.inf, -1.0, 0.0, 1e-300, 1e-3, 0.3, 1.0, 1.9, 2.0, 1e300]


def scaled_step(operator, gradient, multipliers) -> Proposal:
    """The step of multipliers as they are."""
    return multiplied_step(operator, gradient, lmm.Multipliers(multipliers), None)


def curvature(kind, shape, seed):
    batch, n = shape[:2]
    if kind == "scalar":
        return lmm.curvature.ScalarCurvature(normal(batch, seed=seed).exp())
    if kind.endswith("diagonal"):
        entries = (2 * normal(*shape, seed=seed)).exp()
        if kind.startswith("singular"):
            entries[:, 0] = 0
        return lmm.curvature.DiagonalCurvature(entries)
    rank = n if kind == "full rank" else max(1, n // 2)
    basis = torch.linalg.qr(normal(n, n, seed=seed))[0][:, :rank]
    tau = normal(batch, seed=seed).exp() * (0 if kind.startswith("singular") else 1)
    return lmm.curvature.LowRankCurvature(tau, normal(batch, rank, seed=seed + 1).exp(), basis)


kinds = st.sampled_from(
    ["scalar", "diagonal", "singular diagonal", "low rank", "singular low rank", "full rank"]
)
shapes = st.sampled_from([(1, 2), (3, 5), (2, 4, 3)])
intervals = st.sampled_from([(1e-3, 1.0), (1e-3, 1.9998), (1.0, 1.0), (0.5, 1.5)])
seeds = st.integers(0, 2**16)


@given(kind=kinds, shape=shapes, interval=intervals, seed=seeds)
def test_interval_holds_for_hostile_multipliers(kind, shape, interval, seed):
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(HOSTILE), shape, generator=generator)
    multipliers = torch.tensor(HOSTILE, dtype=torch.float64)[picks]
    operator = curvature(kind, shape, seed)
    assert_interval(lmm.Projection(*interval), operator, normal(*shape), multipliers)
    assert_interval(lmm.Projection(*interval), operator, normal(*shape))


@pytest.mark.parametrize("kind", ["diagonal", "low rank", "full rank"])
def test_without_projection_the_interval_is_broken(kind):
    class Free(lmm.Projection):
        def __call__(self, multipliers):
            return multipliers

    for outside in (1e-4, 1.1):
        with pytest.raises(LawViolation, match="P"):
            assert_interval(
                Free(), curvature(kind, (2, 4), 0), normal(2, 4), torch.full((2, 4), outside)
            )


def test_values_of_the_projection():
    projected = lmm.Projection(0.1, 1.5)(torch.tensor(HOSTILE))
    expected = [1.0, 1.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 1.0, 1.5, 1.5, 1.5]
    assert torch.allclose(projected, torch.tensor(expected))


@given(interval=intervals, seed=seeds)
def test_diagonal_case_is_the_elementwise_interval_of_the_paper(interval, seed):
    """MM-Net Eq. 13: weights ``w_i`` with ``lower / b_i <= w_i <= upper / b_i``."""
    operator, g = curvature("diagonal", (3, 6), seed), normal(3, 6, seed=seed + 5)
    proposed = 3 * normal(3, 6, seed=seed + 6)
    projection = lmm.Projection(*interval)
    weights = scaled_step(operator, g, projection(proposed)).step / g
    b = operator.entries
    clamped = torch.clamp(proposed / b, interval[0] / b, interval[1] / b)
    assert torch.allclose(weights, clamped, rtol=1e-12)


@given(kind=kinds, shape=shapes, seed=seeds)
def test_unit_multipliers_minimize_the_majorant(kind, shape, seed):
    operator, ones = curvature(kind, shape, seed), torch.ones(shape).double()
    g = operator.apply(normal(*shape, seed=seed + 2))  # in the range, as gradients are
    own, scaled = own_step(operator, g), scaled_step(operator, g, ones)
    assert torch.allclose(own.step, scaled.step, rtol=1e-9, atol=1e-9)
    # The gradient of Q vanishes there: B d = g.
    assert torch.allclose(operator.apply(own.step), g, rtol=1e-9, atol=1e-9)
    for name in ("slope", "bend", "own"):
        assert torch.allclose(getattr(own, name), getattr(scaled, name), rtol=1e-9)


@given(kind=kinds, shape=shapes, interval=intervals, seed=seeds)
def test_inner_products_belong_to_the_step(kind, shape, interval, seed):
    operator, g = curvature(kind, shape, seed), normal(*shape, seed=seed + 2)
    multipliers = lmm.Projection(*interval)(3 * normal(*shape, seed=seed + 3))
    proposal = scaled_step(operator, g, multipliers)
    assert torch.allclose(proposal.slope, dot(g, proposal.step), rtol=1e-9)
    assert torch.allclose(proposal.own, dot(g, operator.solve(g)), rtol=1e-9)
    bend = operator.quad(proposal.step)
    if kind.endswith("low rank") and kind.startswith("singular"):
        # Multipliers lead out of the range, where B does not bend: the product is an upper bound.
        assert (proposal.bend >= bend * (1 - 1e-9)).all()
    else:
        assert torch.allclose(proposal.bend, bend, rtol=1e-9)
    # P <= upper B^+ gives <d, B d> <= upper <g, d>, the step behind the descent lemma.
    assert (bend <= interval[1] * proposal.slope * (1 + 1e-9)).all()
    assert (proposal.bend <= interval[1] * proposal.slope * (1 + 1e-9)).all()
    assert (proposal.slope >= interval[0] * proposal.own * (1 - 1e-9)).all()


@given(kind=kinds, interval=intervals, seed=seeds)
def test_descent_lemma(kind, interval, seed):
    """``f(x - P g) <= f(x) - (1 - upper / 2) <g, P g>`` for every ``H <= B``."""
    shape = (3, 5)
    operator, x = curvature(kind, shape, seed), normal(*shape, seed=seed + 1)
    shrink = torch.rand(3, generator=torch.Generator().manual_seed(seed)).double()
    hessian = operator.scaled(shrink)
    g = hessian.apply(x)  # f(x) = <x, H x> / 2
    multipliers = lmm.Projection(*interval)(3 * normal(*shape, seed=seed + 3))
    proposal = scaled_step(operator, g, multipliers)
    value, candidate = hessian.quad(x) / 2, hessian.quad(x - proposal.step) / 2
    promised = value - (1 - interval[1] / 2) * proposal.slope
    assert (candidate <= promised + 1e-10 * value).all()
    assert (candidate <= value - proposal.slope + proposal.bend / 2 + 1e-10 * value).all()


@pytest.mark.parametrize("upper", [1.0, 1.5, 1.9998])
@pytest.mark.parametrize("kind", ["scalar", "diagonal", "low rank", "full rank"])
def test_descent_lemma_is_an_equality_at_the_upper_end(kind, upper):
    """With ``f = Q`` and all multipliers at the upper end."""
    shape = (3, 5)
    operator, x = curvature(kind, shape, 0), normal(*shape, seed=1)
    g = operator.apply(x)
    proposal = scaled_step(operator, g, torch.full(shape, upper, dtype=torch.float64))
    value, candidate = operator.quad(x) / 2, operator.quad(x - proposal.step) / 2
    assert torch.allclose(candidate, value - (1 - upper / 2) * proposal.slope, rtol=1e-9)


@given(kind=kinds, shape=shapes, seed=seeds)
def test_a_step_that_is_cut_keeps_the_upper_inequality(kind, shape, seed):
    operator, g = curvature(kind, shape, seed), normal(*shape, seed=seed + 2)
    proposal = scaled_step(operator, g, lmm.Projection(0.1, 1.5)(normal(*shape, seed=seed + 3)))
    length = norm(proposal.step)
    radius = length * torch.linspace(0.1, 3.0, shape[0]).double()
    shorter, now, long = cut(proposal, radius)
    assert torch.equal(long, length > radius)
    assert torch.equal(now, torch.minimum(length, radius))
    assert (norm(shorter.step) <= radius * (1 + 1e-14)).all()
    assert torch.allclose(shorter.slope, dot(g, shorter.step), rtol=1e-9)
    assert (operator.quad(shorter.step) <= 1.5 * shorter.slope * (1 + 1e-9)).all()
    assert (operator.quad(shorter.step) <= shorter.bend * (1 + 1e-9)).all()
    share = norm(shorter.step) / length
    assert torch.allclose(shorter.bend, share**2 * proposal.bend, rtol=1e-9)
    kept = ~long
    assert torch.equal(shorter.step[kept], proposal.step[kept])
    # A shorter step predicts less, but still a decrease.
    assert (shorter.slope - shorter.bend / 2 >= 0).all()
    assert torch.equal(shorter.own, proposal.own)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(0.0, 1.0), (-1.0, 1.0), (1e-3, 2.0), (1.1, 1.5), (0.1, 0.9), (float("nan"), 1.0), (0.1, 3.0)],
)
def test_intervals_without_descent_are_refused(lower, upper):
    with pytest.raises(ValueError, match=r"interval.*got \["):
        lmm.Projection(lower, upper)
