"""What cannot be drawn is refused when it is asked for."""

from __future__ import annotations

import pytest

from learnmm_esi.simulation.patches import PatchSettings


@pytest.mark.parametrize(
    "count", [0, -1, 1.5, "two", None, (0, 2), (3, 2), (1, 2.5), (1, 2, 3), [1, 2]]
)
def test_numbers_of_patches_are_checked(count):
    with pytest.raises(ValueError, match="PatchSettings: count must be an integer >= 1"):
        PatchSettings(count)


@pytest.mark.parametrize("max_hops", [0, -2, 1.5, "far", None])
def test_radii_are_checked(max_hops):
    with pytest.raises(ValueError, match="PatchSettings: max_hops must be an integer >= 1"):
        PatchSettings(max_hops=max_hops)


def test_distances_are_checked():
    with pytest.raises(ValueError, match="distance must be 'geodesic' or 'euclidean', got 'manh"):
        PatchSettings(distance="manhattan")


@pytest.mark.parametrize(("count", "bounds"), [(3, (3, 3)), ((1, 4), (1, 4))])
def test_a_number_is_a_range_of_one(count, bounds):
    settings = PatchSettings(count)
    assert (settings.least, settings.most) == bounds
