"""The picture of a reconstruction: what it shows, and what it refuses to show."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
from matplotlib.text import Text

from eeg_recordings import FEW, SFREQ, simulated
from learnmm_esi.plots.overview import plot_reconstruction
from learnmm_esi.recordings.apply import apply_mm


@pytest.fixture
def evoked(model):
    data = simulated(model, 1)[0]
    evoked = mne.EvokedArray(data, model.info(SFREQ), tmin=-0.02, comment="left")
    return evoked.set_eeg_reference(projection=True, verbose="ERROR")


@pytest.fixture
def stc(model, evoked):
    return apply_mm(evoked, model, FEW)


def test_the_picture_shows_recording_topography_cortex_and_time_courses(model, stc, evoked):
    figure = plot_reconstruction(stc, evoked, model, title="left")
    titles = [axes.get_title() for axes in figure.axes]
    assert "recording, 90 channels, average reference" in titles
    assert {"left, lateral", "right, medial"} <= set(titles)
    peak = 1e3 * stc.times[np.abs(stc.data).max(axis=0).argmax()]
    assert f"at {peak:.0f} ms" in titles
    points = dataclasses.replace(model, origin=model.forward())
    evoked.info["bads"] = ["Fz"]
    titles = [a.get_title() for a in plot_reconstruction(stc, evoked, points, time=0.0).axes]
    assert {"left hemisphere", "at 0 ms", "recording, 89 channels, average reference"} <= set(
        titles
    )
    plt.close("all")


def test_nothing_of_the_picture_is_cut_off(model, stc, evoked):
    """Also of estimates whose numbers are long, and of models that are drawn as points."""
    stc.data[:] *= -1e5
    for drawn in (model, dataclasses.replace(model, origin=model.forward())):
        figure = plot_reconstruction(stc, evoked, drawn, threshold=0.4, title="left")
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        shown = [text.get_text() for text in figure.findobj(Text)]
        assert "sources (nA m)" in shown
        assert "painted from 40% of the largest source on" in shown
        for axes in figure.axes:
            if axes.name != "3d":  # which have no text but a title
                box = axes.get_tightbbox(renderer)
                assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
                assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        plt.close(figure)


def test_pictures_refuse_what_does_not_fit(model, stc, evoked):
    with pytest.raises(
        ValueError, match=r"time must lie in -0.0195312 to 0.00976562 s of the estimate, got 1"
    ):
        plot_reconstruction(stc, evoked, model, time=1.0)
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\), got 1"):
        plot_reconstruction(stc, evoked, model, threshold=1.0)
    short = mne.SourceEstimate(stc.data[:59], [stc.vertices[0], stc.vertices[1][:-1]], 0, 1)
    with pytest.raises(ValueError, match="59 sources, the head model 60"):
        plot_reconstruction(short, evoked, model)
