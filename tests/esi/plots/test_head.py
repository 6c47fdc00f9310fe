"""Pictures of head models: what they show, and what they refuse to show."""

from __future__ import annotations

import pytest

from learnmm_esi.plots.head import plot_head_model


def test_head_model_shows_its_rank_and_the_chosen_topographies(model):
    figure = plot_head_model(model, sources=[3, 50])
    titles = [axes.get_title() for axes in figure.axes]
    assert "singular values over the largest: rank 60" in titles
    assert any(title.startswith("2: source 50, max") for title in titles)
    assert len(plot_head_model(model).axes) == 7


def test_a_model_without_places_is_refused(bare):
    with pytest.raises(ValueError, match="no sensor positions to draw"):
        plot_head_model(bare)
