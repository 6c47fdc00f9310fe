"""Bounds under the calculus: kinds, certain and uncertain parts, radii, failure probabilities."""

import itertools

import pytest
import torch

import learnmm as lmm
from learnmm import Bound, Kind
from learnmm.atoms import CenteredCurvature
from learnmm.bound import Majorant, map_bound
from learnmm.checks.laws import dense
from learnmm.curvature import ScalarCurvature

X = torch.zeros(2, 3).double()


def scalar(*values):
    return ScalarCurvature(torch.tensor(values).double())


def bound(kind, *values, **settings):
    radius = torch.tensor([1.0, 2.0]).double() if kind is Kind.REGION else None
    return Bound(kind, scalar(*values), radius, **settings)


def level(curvature):
    return None if curvature is None else torch.diagonal(dense(curvature.apply, X), 0, 1, 2)[:, 0]


@pytest.mark.parametrize(("first", "second"), [*itertools.product(Kind, Kind)])
def test_a_sum_is_as_strong_as_its_weakest_part(first, second):
    total = bound(first, 1.0, 2.0) + bound(second, 10.0, 20.0)
    assert total.kind is max(first, second)
    assert level(total.curvature).tolist() == [11.0, 22.0]
    certain = [b for k, b in ((first, 1.0), (second, 10.0)) if k in (Kind.GLOBAL, Kind.REGION)]
    uncertain = [b for k, b in ((first, 1.0), (second, 10.0)) if k > Kind.REGION]
    for part, values in ((total.certain, certain), (total.uncertain, uncertain)):
        if values:
            assert level(part).tolist() == [sum(values), 2 * sum(values)]
        else:
            assert part is None
    if Kind.REGION in (first, second):
        assert total.radius.tolist() == [1.0, 2.0]
    else:
        assert total.radius is None


def test_the_kinds_are_ordered_from_strongest_to_weakest():
    order = [Kind.GLOBAL, Kind.REGION, Kind.POINTWISE, Kind.PROBABLE, Kind.ESTIMATE]
    assert sorted(Kind) == order


def test_radii_meet_and_failure_probabilities_add():
    first = Bound(Kind.REGION, scalar(1.0, 1.0), torch.tensor([1.0, 4.0]))
    second = Bound(Kind.REGION, scalar(1.0, 1.0), torch.tensor([3.0, 2.0]))
    assert (first + second).radius.tolist() == [1.0, 2.0]
    probable = bound(Kind.PROBABLE, 1.0, 1.0, failure_probability=0.3)
    assert (probable + probable).failure_probability == pytest.approx(0.6)
    assert (probable + probable + probable + probable).failure_probability == 1.0
    assert (probable + first).failure_probability == pytest.approx(0.3)


@pytest.mark.parametrize("factor", [3.0, torch.tensor([3.0, 3.0]).double()])
def test_scaling_keeps_everything_else(factor):
    mixed = bound(Kind.REGION, 1.0, 2.0) + bound(Kind.PROBABLE, 1.0, 1.0, failure_probability=0.1)
    scaled = mixed.scaled(factor)
    assert level(scaled.curvature).tolist() == [6.0, 9.0]
    assert level(scaled.certain).tolist() == [3.0, 6.0]
    assert level(scaled.uncertain).tolist() == [3.0, 3.0]
    assert (scaled.kind, scaled.failure_probability) == (Kind.PROBABLE, 0.1)
    assert scaled.radius.tolist() == [1.0, 2.0]


def test_relaxation_touches_the_uncertain_part_alone():
    factor = torch.tensor([0.5, 2.0]).double()
    proved, measured = bound(Kind.GLOBAL, 1.0, 1.0), bound(Kind.ESTIMATE, 4.0, 4.0)
    assert level(proved.relaxed(factor)).tolist() == [1.0, 1.0]
    assert level(measured.relaxed(factor)).tolist() == [2.0, 8.0]
    assert level((proved + measured).relaxed(factor)).tolist() == [3.0, 9.0]


def test_relaxation_leaves_structured_data_terms_exact():
    """A proved low-rank part plus an uncertain number: the basis survives, relaxed or not."""
    linear = lmm.linear.MatrixMap(torch.randn(2, 3).double())
    data = (lmm.Quadratic(torch.zeros(2, 2).double()) @ linear).bound(X)
    total = (data + bound(Kind.POINTWISE, 1.0, 1.0)).relaxed(torch.full((2,), 0.1).double())
    expected = linear.matrix.mT @ linear.matrix + 0.1 * torch.eye(3).double()
    assert torch.allclose(dense(total.apply, X), expected.expand(2, 3, 3), atol=1e-12)


def test_map_bound_maps_both_parts():
    mixed = bound(Kind.GLOBAL, 1.0, 2.0) + bound(Kind.PROBABLE, 1.0, 1.0, failure_probability=0.1)
    mapped = map_bound(mixed, lambda c: c.scaled(2.0), torch.ones(2))
    assert level(mapped.certain).tolist() == [2.0, 4.0]
    assert level(mapped.uncertain).tolist() == [2.0, 2.0]
    assert (mapped.kind, mapped.failure_probability) == (Kind.PROBABLE, 0.1)
    assert mapped.radius.tolist() == [1.0, 1.0]


def test_atoms_carry_mixed_bounds_through_a_map():
    """Weights, maps and sums of atoms treat kinds as bounds do."""
    a = torch.eye(3).double()
    y = torch.ones(2, 3).double()
    mixed = 2.0 * (lmm.Quadratic(y) + lmm.CosineDistance(y, "pointwise")) @ a
    result = mixed.bound(y)
    assert result.kind is Kind.POINTWISE
    assert level(result.certain).tolist() == pytest.approx([2.0, 2.0])
    assert level(result.uncertain).tolist() == pytest.approx([2 / 3, 2 / 3])


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="radius"):
        Bound(Kind.REGION, scalar(1.0))
    with pytest.raises(TypeError):
        bound(Kind.GLOBAL, 1.0, 1.0) + 1.0
    with pytest.raises(ValueError, match="certain or an uncertain"):
        map_bound(bound(Kind.GLOBAL, 1.0), lambda c: None, None)


@pytest.mark.parametrize(
    "majorant",
    [
        lmm.majorants.LipschitzMajorant(1.0),
        lmm.majorants.LanczosMajorant(lambda x: x.sum(1)),
        lambda x: x,
    ],
)
def test_majorants_follow_the_protocol(majorant):
    assert isinstance(majorant, Majorant)


ONE, BASIS = torch.ones(2), torch.eye(3)[:, :2]
SCALAR = lmm.curvature.ScalarCurvature(ONE)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: lmm.curvature.ScalarCurvature(3.0),
            TypeError,
            r"ScalarCurvature.value.*got float",
        ),
        (lambda: lmm.curvature.ScalarCurvature(()), TypeError, "got tuple"),
        (
            lambda: lmm.curvature.ScalarCurvature(torch.tensor(3.0)),
            ValueError,
            r"shape \(B,\), got \(\)",
        ),
        (lambda: lmm.curvature.ScalarCurvature(torch.ones(2, 1)), ValueError, r"got \(2, 1\)"),
        (
            lambda: lmm.curvature.ScalarCurvature(torch.ones(2).long()),
            TypeError,
            "floating-point.*int64",
        ),
        (lambda: lmm.curvature.ScalarCurvature(ONE + 0j), TypeError, "floating-point.*complex64"),
        (lambda: CenteredCurvature(1.0), TypeError, r"CenteredCurvature.value.*got float"),
        (
            lambda: lmm.curvature.DiagonalCurvature([1.0]),
            TypeError,
            r"DiagonalCurvature.entries.*got list",
        ),
        (lambda: lmm.curvature.DiagonalCurvature(torch.tensor(1.0)), ValueError, r"got \(\)"),
        (lambda: lmm.curvature.DiagonalCurvature(torch.ones(2, 3).bool()), TypeError, "bool"),
        (
            lambda: lmm.curvature.LowRankCurvature(0.0, torch.ones(2, 2), BASIS),
            TypeError,
            "shift.*float",
        ),
        (
            lambda: lmm.curvature.LowRankCurvature(ONE, torch.ones(2), BASIS),
            ValueError,
            r"spectrum.*\(2,\)",
        ),
        (
            lambda: lmm.curvature.LowRankCurvature(ONE, torch.ones(2, 2), None),
            TypeError,
            "basis.*NoneType",
        ),
        (
            lambda: lmm.curvature.LowRankCurvature(ONE, torch.ones(2, 3), BASIS),
            ValueError,
            r"\(2, 3\)",
        ),
        (
            lambda: lmm.curvature.LowRankCurvature(torch.ones(3), torch.ones(2, 2), BASIS),
            ValueError,
            "shift",
        ),
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
