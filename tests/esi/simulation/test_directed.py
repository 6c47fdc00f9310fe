"""Patches that grow in a direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnmm_esi.simulation.directed import DirectedGrowth

SIDE = 9
CENTRE = SIDE // 2 * SIDE + SIDE // 2


@pytest.fixture(scope="module")
def lattice():
    """Regions on a square, beside eight others each: a ring is a frame."""
    row, column = np.divmod(np.arange(SIDE**2), SIDE)
    apart = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column))
    return np.stack([row, column, 0 * row], axis=1) / 100, apart.astype(np.int16)


@given(seed=st.integers(0, SIDE**2 - 1), rings=st.integers(1, 3), number=st.integers(0, 2**32))
def test_a_patch_is_whole_near_its_seed_and_has_no_holes(lattice, seed, rings, number):
    positions, hops = lattice
    regions = DirectedGrowth(positions, hops)(seed, rings, np.random.default_rng(number))
    inside = np.isin(np.arange(len(hops)), regions)
    assert inside[hops[seed] <= 1].all()
    assert hops[seed, regions].max() <= rings
    if rings == 1:
        assert (inside == (hops[seed] <= 1)).all()
    surrounded = (inside | (hops != 1)).all(axis=1) & (hops[seed] <= rings)
    assert inside[surrounded].all()
    assert (inside & (hops == 1)).any(axis=1)[regions].all()  # each touches another of the patch


def test_regions_along_the_direction_join_and_those_across_it_do_not(lattice):
    """On the lattice |cos| is zero for some region across a diagonal and one along it."""
    positions, hops = lattice
    grow = DirectedGrowth(positions, hops)
    corners = {0: CENTRE - 2 * SIDE - 2, 1: CENTRE - 2 * SIDE + 2, 2: CENTRE + 2 * SIDE + 2}
    seen = set()
    for number in range(60):
        generator = np.random.default_rng(number)
        first = np.flatnonzero(hops[CENTRE] == 1)
        toward = first[np.random.default_rng(number).integers(len(first))] - CENTRE
        regions = set(grow(CENTRE, 2, generator).tolist())
        if toward in (-SIDE - 1, SIDE + 1):  # along one diagonal, across the other
            assert corners[0] in regions
            assert corners[2] in regions
            assert corners[1] not in regions
            seen.add(frozenset(regions))
    assert len(seen) > 5  # and the rest of the outline is random


def test_a_region_alone_is_a_patch():
    grow = DirectedGrowth(np.zeros((1, 3)), np.zeros((1, 1), np.int16))
    assert grow(0, 3, np.random.default_rng(0)).tolist() == [0]
