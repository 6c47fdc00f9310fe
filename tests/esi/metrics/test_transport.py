"""The earth mover's distance, against a dense linear programme and where it is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from learnmm_esi.metrics import earth_movers_distance


def dense(a, b, distances):
    """The definition as a linear programme over all flows."""
    n = len(a)
    leaving, arriving = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    flows = linprog(
        distances.ravel(),
        A_eq=np.vstack([leaving, arriving]),
        b_eq=np.concatenate([a / a.sum(), b / b.sum()]),
    )
    return flows.fun


@pytest.fixture
def maps():
    generator = np.random.default_rng(0)
    truth, estimate = generator.random((2, 4, 12))
    truth[:, 3:] = 0.0
    return truth, estimate, cdist(*[generator.standard_normal((12, 3))] * 2)


def test_it_equals_the_linear_programme(maps):
    truth, estimate, distances = maps
    expected = [dense(a, b, distances) for a, b in zip(truth, estimate, strict=True)]
    np.testing.assert_allclose(earth_movers_distance(*maps), expected, rtol=1e-9)


def test_on_a_line_it_is_that_of_scipy():
    place = np.sort(np.random.default_rng(1).random(40))
    a, b = np.random.default_rng(2).random((2, 1, 40))
    found = earth_movers_distance(a, b, np.abs(np.subtract.outer(place, place)))
    assert found == pytest.approx([wasserstein_distance(place, place, a[0], b[0])])


def test_it_is_a_metric_of_shapes(maps):
    truth, estimate, distances = maps
    there = earth_movers_distance(truth, estimate, distances)
    back = earth_movers_distance(estimate, 7.0 * truth, distances)
    np.testing.assert_allclose(there, back, rtol=1e-9)
    assert earth_movers_distance(truth, 3.0 * truth, distances).tolist() == [0.0] * 4
    assert (there > 0).all()


def test_two_points_are_as_far_as_they_are_apart(maps):
    *_, distances = maps
    a, b = np.eye(12)[[2]], np.eye(12)[[7]]
    assert earth_movers_distance(a, b, distances) == pytest.approx([distances[2, 7]])


def test_maps_that_are_none_are_refused(maps):
    truth, estimate, distances = maps
    with pytest.raises(ValueError, match="the truth needs a positive value"):
        earth_movers_distance(0 * truth, estimate, distances)
    with pytest.raises(ValueError, match=r"the estimate needs .* no negative one"):
        earth_movers_distance(truth, estimate - 0.5, distances)


def test_the_extra_is_named_where_it_is_missing(maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"pip install 'learnmm-esi\[metrics\]'"):
        earth_movers_distance(*maps)


def test_a_flow_that_is_not_found_is_an_error(maps, monkeypatch):
    monkeypatch.setattr("learnmm_esi.metrics.transport._ITERATIONS", 1)
    with pytest.warns(UserWarning, match="numItermax"), pytest.raises(RuntimeError, match="sample"):
        earth_movers_distance(*maps)
