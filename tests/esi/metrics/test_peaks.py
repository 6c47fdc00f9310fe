"""Peaks of maps, and the sources that they stand for, against tries of all possibilities."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import sparse

from learnmm_esi.metrics.peaks import PEAK_FRACTION, Peaks, matched_distances


def row_of(n):
    """Regions in a row, each beside the next."""
    return sparse.diags([np.ones(n - 1)] * 2, [-1, 1], dtype=bool).tocsr()


def test_peaks_come_strongest_first_and_low_ones_are_left_out():
    low = 0.99 * PEAK_FRACTION * 5
    maps = np.array([[1.0, 3.0, 2.0, 5.0, 1.0, low, 0.0, 4.0]])
    assert Peaks(row_of(8))(maps, 5).tolist() == [[3, 7, 1, -1, -1]]
    assert Peaks(row_of(8))(maps, 2).tolist() == [[3, 7]]


def test_equal_neighbours_are_one_peak():
    assert Peaks(row_of(5))(np.array([[0.0, 2.0, 2.0, 2.0, 0.0]]), 3).tolist() == [[1, -1, -1]]


def test_a_region_without_neighbours_is_a_peak():
    alone = sparse.csr_matrix((3, 3), dtype=bool)
    assert Peaks(alone)(np.array([[1.0, 3.0, 2.0]]), 4).tolist() == [[1, 2, 0, -1]]


def test_peaks_equal_those_of_a_search_region_by_region(small_model):
    maps = np.random.default_rng(0).random((20, len(small_model.positions)))
    graph = small_model.neighbours.toarray().astype(bool)
    found = Peaks(small_model.neighbours)(maps, len(graph))
    for values, peaks in zip(maps, found, strict=True):
        higher = [i for i, beside in enumerate(graph) if values[i] > values[beside].max()]
        high = [i for i in higher if values[i] >= PEAK_FRACTION * values.max()]
        assert peaks[peaks >= 0].tolist() == sorted(high, key=lambda i: -values[i])


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 4), (4, 2), (3, 1)])
def test_the_sum_of_matched_distances_is_the_least_of_all_assignments(shape):
    distances = np.random.default_rng(1).random(shape)
    sources, peaks = shape
    slots = list(range(peaks)) + [-1] * max(sources - peaks, 0)  # -1: the nearest peak of all
    least = min(
        sum(distances[i].min() if p < 0 else distances[i, p] for i, p in enumerate(chosen))
        for chosen in permutations(slots, sources)
    )
    matched = matched_distances(distances)
    assert matched.shape == (sources,)
    assert matched.sum() == pytest.approx(least)


def test_no_peak_stands_for_two_sources_unless_peaks_are_missing():
    # The first peak is nearest to both sources.
    assert matched_distances(np.array([[1.0, 9.0], [2.0, 7.0]])).tolist() == [1.0, 7.0]
    assert matched_distances(np.array([[1.0], [2.0]])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("shape", [(2, 0), (0, 2), (2,)])
def test_nothing_to_match_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected distances \(sources, peaks\)"):
        matched_distances(np.zeros(shape))
