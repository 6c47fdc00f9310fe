"""Constructed boundaries of the head."""

from __future__ import annotations

import itertools

import pytest

from learnmm_esi.head.boundaries import SKULLS, head_boundaries


@pytest.mark.parametrize("skull", SKULLS)
def test_boundaries_are_closed_and_nested(skull):
    head = head_boundaries(ico=2, skull=skull)
    layers = head.inner_skull, head.outer_skull, head.skin
    for inner, outer in itertools.pairwise(layers):
        assert inner.is_watertight
        assert outer.is_watertight
        assert outer.volume > inner.volume > 0  # positive: faces point outwards
        assert outer.contains(inner.vertices).all()
    low, high = {"half": (3, 7), "ratio": (2, 6), "constant": (2.5, 5)}[skull]
    thickness = head.skull_thickness[head.upper] * 1e3
    assert low - 0.1 <= thickness.min()
    assert thickness.max() <= high + 0.1
    assert head.scalp_thickness.min() > 2e-3


def test_an_unknown_skull_is_refused():
    with pytest.raises(ValueError, match=r"one of \['constant', 'half', 'ratio'\], got 'thin'"):
        head_boundaries(ico=2, skull="thin")
