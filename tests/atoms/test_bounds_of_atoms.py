"""Bounds get what they need, however an atom was evaluated, and refuse what is not theirs."""

import pytest
import torch
from torch import nn

import learnmm as lmm
from catalogue import ATOMS, Draw

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


def brings(case):
    """Whether the bound of an atom needs anything from its evaluation."""
    draw = Draw(3, torch.float64)
    return case.build(draw).measure(case.point(draw))[1] != ()


NEEDY = [case for case in ATOMS if brings(case)]


@pytest.mark.parametrize("case", NEEDY, ids=lambda case: case.name)
def test_bounds_refuse_an_aux_that_is_not_theirs(case):
    draw = Draw(3, torch.float64)
    atom, x = case.build(draw), case.point(draw)
    message = r"bound_at expects the aux of its own measure or evaluate at x, a t.* got"
    with pytest.raises(ValueError, match=message):
        atom.bound_at(x, ())


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
