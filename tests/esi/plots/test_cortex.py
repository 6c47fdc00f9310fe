"""Maps on the cortex: what they show, and what they refuse to show."""

from __future__ import annotations

import numpy as np
import pytest

from learnmm_esi.plots.cortex import plot_cortex


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_rows_are_maps_and_each_is_painted_by_its_own_maximum(model):
    one = np.zeros(60)
    one[[10, 40]] = 2.0, 1.0
    figure = plot_cortex(model, {"truth": one, "estimate": 1e-3 * one}, unit="A m", title="Both")
    texts = [text.get_text() for text in figure.texts]
    expected = ["Both", "truth", "max 2 A m", "estimate", "max 0.002 A m", "left, lateral"]
    assert set(expected) <= set(texts)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert "share of the row's maximum, painted from 0.2 on" in labels
    assert len([axes for axes in figure.axes if axes.name == "3d"]) == 4
    image = pixels(figure)
    painted = (image.max(axis=2) - image.min(axis=2)) > 60
    top, bottom = np.split(painted[: len(painted) // 2 * 2], 2)
    assert top.sum() > 100
    assert bottom.sum() > 100


def test_rows_may_have_units_of_their_own(model):
    one = np.ones(60)
    figure = plot_cortex(model, {"a": one, "b": 2 * one, "c": 3 * one}, unit={"a": "A m", "b": "z"})
    assert {"max 1 A m", "max 2 z", "max 3"} <= {text.get_text() for text in figure.texts}


def test_a_signed_map_has_two_colours_and_a_zero_map_none(model):
    signed = np.resize([1.0, -1.0], 60)
    image = pixels(plot_cortex(model, {"signed": signed}, views=[("left", "lateral")]))
    above = image[:-90]  # without the colour bar
    assert (above[..., 0] - above[..., 2] > 60).any()
    assert (above[..., 2] - above[..., 0] > 60).any()
    image = pixels(plot_cortex(model, {"zero": 0 * signed}, views=[("left", "lateral")]))
    assert not (np.ptp(image[:-90], axis=2) > 20).any()


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        ({}, {}, "at least one map"),
        ({"a": np.zeros(59)}, {}, r"map 'a' must have shape \(60,\), got \(59,\)"),
        ({"a": np.full(60, np.inf)}, {}, "map 'a' has values that are not finite"),
        ({"a": np.zeros(60)}, {"threshold": 1.0}, r"threshold must lie in \[0, 1\), got 1.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(model, maps, options, message):
    with pytest.raises(ValueError, match=message):
        plot_cortex(model, maps, **options)


def test_a_model_without_regions_is_refused(bare):
    with pytest.raises(ValueError, match="no regions on fsaverage5"):
        plot_cortex(bare, {"a": np.zeros(5)})
