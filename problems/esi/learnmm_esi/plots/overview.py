"""One picture of a reconstruction: recording, topography, cortex and source time courses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from learnmm_esi.head.model import HeadModel
from learnmm_esi.plots.hemisphere import Palette, halves, paint_hemisphere

__all__ = ["plot_reconstruction"]

VIEWS = (("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral"))
# Of points: label, coordinate across and its sign, coordinate up, and which side is seen.
ASPECTS: tuple[tuple[str, int, int, int, Callable[[Any], Any]], ...] = (
    ("left hemisphere", 1, -1, 2, lambda x: x < 0),
    ("from above", 0, 1, 1, np.isfinite),
    ("right hemisphere", 1, 1, 2, lambda x: x >= 0),
)
MICRO, NANO = 1e6, 1e9
STRONGEST = 5  # sources whose time courses stand out
MARK = "0.35"


def plot_reconstruction(
    stc: mne.SourceEstimate,
    evoked: mne.Evoked,
    model: HeadModel,
    *,
    time: float | None = None,
    threshold: float = 0.3,
    title: str = "",
) -> Figure:
    """Draw a recording and the sources it was explained by, without a 3-D backend.

    Above, the channels over time and their topography at one moment; below, the sources at that
    moment, on the inflated cortex if the model has regions on fsaverage5, else as points; last,
    the time courses of all sources, those strongest at that moment in colour.

    Parameters
    ----------
    stc : mne.SourceEstimate
        On the sources of `model`, in A m.
    evoked : mne.Evoked
        What was reconstructed, in V. Its good EEG channels are drawn, average-referenced.
    model : HeadModel
        On whose sources `stc` lies.
    time : float, optional
        Moment in seconds. Default: where the estimate is largest.
    threshold : float, default 0.3
        Share of the largest source of that moment below which nothing is painted.
    title : str
        Written above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the estimate does not lie on the model's sources, `time` is outside of it, or there are
        no good EEG channels.
    """
    if len(stc.data) != len(model.positions):
        raise ValueError(
            f"the estimate has {len(stc.data)} sources, the head model {len(model.positions)}"
        )
    moment = _moment(stc, time)
    values = stc.data[:, moment].astype(float)
    palette = Palette(bool((values < 0).any()), threshold)
    with mne.use_log_level("ERROR"):
        eeg = evoked.copy().pick("eeg", exclude="bads")
        eeg.set_eeg_reference(projection=True).apply_proj()
    figure = plt.figure(figsize=(11, 7.2), layout="constrained")
    if title:
        figure.suptitle(title, weight="bold")
    rows: Any = figure.subfigures(3, 1, height_ratios=(1.15, 1, 1.15))
    top, middle, bottom = rows
    left, right = top.subplots(1, 2, width_ratios=(2.1, 1))
    _draw_channels(left, eeg, stc.times[moment])
    _draw_topography(right, eeg, stc.times[moment], model)
    draw = _draw_points if model.regions is None else _draw_cortex
    draw(middle, model, values, palette)
    _draw_sources(bottom.subplots(), stc, moment)
    return figure


def _moment(stc: mne.SourceEstimate, time: float | None) -> int:
    if time is None:
        # Samples that annotations called bad have no estimate.
        return int(np.nan_to_num(np.abs(stc.data)).max(axis=0).argmax())
    if not stc.times[0] - stc.tstep / 2 <= time <= stc.times[-1] + stc.tstep / 2:
        raise ValueError(
            f"time must lie in {stc.times[0]:g} to {stc.times[-1]:g} s of the estimate, got {time}"
        )
    return int(np.abs(stc.times - time).argmin())


def _draw_channels(axes: Axes, eeg: mne.Evoked, time: float) -> None:
    axes.plot(1e3 * eeg.times, MICRO * eeg.data.T, lw=0.6, c="tab:blue", alpha=0.5)
    axes.axvline(1e3 * time, c=MARK, lw=1, ls="--")
    axes.set(xlabel="time (ms)", ylabel="EEG (µV)", xlim=1e3 * eeg.times[[0, -1]])
    axes.set_title(f"recording, {len(eeg.ch_names)} channels, average reference", fontsize=10)
    _open(axes)


def _draw_topography(axes: Axes, eeg: mne.Evoked, time: float, model: HeadModel) -> None:
    axes.set_title(f"at {1e3 * time:.0f} ms", fontsize=10)
    values = MICRO * eeg.data[:, np.abs(eeg.times - time).argmin()]
    places = np.array([channel["loc"][:3] for channel in eeg.info["chs"]])
    if not (np.isfinite(places).all() and places.any(axis=1).all()):
        axes.text(0.5, 0.5, "no sensor positions\nin the recording", ha="center", va="center")
        axes.set_axis_off()
        return
    limit = np.abs(values).max()
    image, _ = mne.viz.plot_topomap(
        values, eeg.info, axes=axes, show=False, contours=4, vlim=(-limit, limit)
    )
    axes.figure.colorbar(image, ax=axes, shrink=0.7, label="µV")


def _draw_cortex(
    figure: SubFigure, model: HeadModel, values: NDArray[np.float64], palette: Palette
) -> None:
    hemispheres = halves(model, values)
    # The bar in a place of its own: beside 3-D axes the layout does not make room for its label.
    grid = figure.add_gridspec(1, len(VIEWS) + 1, width_ratios=(*[1] * len(VIEWS), 0.06))
    for place, (side, view) in enumerate(VIEWS):
        axes = figure.add_subplot(grid[place], projection="3d")
        paint_hemisphere(axes, hemispheres[side], side, view, palette)
        axes.set_title(f"{side}, {view}", fontsize=9)
    largest = NANO * np.abs(values).max()
    bar = ScalarMappable(Normalize(palette.low * largest, largest), palette.cmap)
    figure.colorbar(bar, cax=figure.add_subplot(grid[-1]), label="sources (nA m)")
    figure.supxlabel(_painted(palette.threshold), fontsize=9)


def _draw_points(
    figure: SubFigure, model: HeadModel, values: NDArray[np.float64], palette: Palette
) -> None:
    largest = np.abs(values).max()
    shown = np.abs(values) >= palette.threshold * largest
    for axes, (label, across, sign, up, seen) in zip(figure.subplots(1, 3), ASPECTS, strict=True):
        x, y = 1e3 * sign * model.positions[:, across], 1e3 * model.positions[:, up]
        side = seen(model.positions[:, 0])
        axes.scatter(x[side], y[side], s=5, c="0.85", linewidths=0)
        drawn = np.flatnonzero(side & shown)
        drawn = drawn[np.argsort(np.abs(values[drawn]))]  # the strongest on top
        image = axes.scatter(
            x[drawn],
            y[drawn],
            s=16,
            c=NANO * values[drawn],
            cmap="RdBu_r",
            vmin=-NANO * largest,
            vmax=NANO * largest,
            linewidths=0.3,
            edgecolors="0.4",
        )
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(label, fontsize=9)
    figure.colorbar(image, ax=figure.axes, shrink=0.6, label="sources (nA m)")
    figure.supxlabel(_painted(palette.threshold), fontsize=9)


def _painted(threshold: float) -> str:
    return f"painted from {threshold:.0%} of the largest source on"


def _draw_sources(axes: Axes, stc: mne.SourceEstimate, moment: int) -> None:
    strongest = np.argsort(-np.abs(stc.data[:, moment]))[:STRONGEST]
    milliseconds, data = 1e3 * stc.times, NANO * stc.data
    axes.plot(milliseconds, data.T, lw=0.4, c="0.75", rasterized=True)
    left = len(stc.vertices[0])
    for source in strongest:
        side = "left" if source < left else "right"
        vertex = np.concatenate(stc.vertices)[source]
        axes.plot(milliseconds, data[source], lw=1.4, label=f"{side}, vertex {vertex}")
    axes.axvline(milliseconds[moment], c=MARK, lw=1, ls="--")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set(xlabel="time (ms)", ylabel="sources (nA m)", xlim=milliseconds[[0, -1]])
    axes.set_title(
        f"{len(data)} sources, in colour the strongest at {milliseconds[moment]:.0f} ms",
        fontsize=10,
    )
    _open(axes)


def _open(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
