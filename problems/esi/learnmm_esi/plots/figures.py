"""Pictures of head models and of activity on the cortex, without a 3-D backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from nilearn import plotting, surface
from nilearn.datasets import fetch_surf_fsaverage
from numpy.typing import ArrayLike

from learnmm_esi.head.model import HeadModel

__all__ = ["paint_hemisphere", "plot_cortex", "plot_head_model"]

BOTH_SIDES = (("left", "lateral"), ("right", "lateral"))
PANEL = (2.8, 2.05)  # inches
LABEL, LETTER = 1.5, 0.1  # inches to the left of the panels, at least and per letter
HEADER, FOOTER = 0.45, 0.75  # inches above and below them
ZOOM = 1.9  # of the brain in its panel: matplotlib leaves wide margins around 3-D axes
GYRUS, SULCUS = 0.12, 0.42  # greys behind the map, light enough not to compete with it


def plot_cortex(
    model: HeadModel,
    maps: Mapping[str, ArrayLike],
    *,
    views: Sequence[tuple[str, str]] = BOTH_SIDES,
    threshold: float = 0.2,
    unit: str | Mapping[str, str] = "",
    title: str = "",
) -> Figure:
    """Draw maps of the sources on the inflated cortex: one row per map, one column per view.

    Each map is divided by its own largest absolute value, which its row names; so shapes compare,
    sizes are read. Below the threshold sulci (dark) and gyri (bright) show.

    Parameters
    ----------
    model : HeadModel
        A model with regions.
    maps : mapping of str to array_like, shape (sources,)
        Names of the rows and their values.
    views : sequence of (hemisphere, view)
        "left" or "right", with "lateral", "medial", "dorsal", "ventral", "anterior" or "posterior".
    threshold : float
        Share of the maximum below which nothing is painted, in [0, 1).
    unit : str or mapping of str to str
        Unit of the values, written after each maximum; or one by the name of the row.
    title : str
        Written above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the model has no regions, there are no maps, or a map has the wrong shape or a value
        that is not finite.
    """
    if not maps:
        raise ValueError("plot_cortex needs at least one map")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must lie in [0, 1), got {threshold}")
    values = {name: np.asarray(row, dtype=float) for name, row in maps.items()}
    for name, row in values.items():
        if row.shape != (len(model.positions),):
            raise ValueError(
                f"map {name!r} must have shape ({len(model.positions)},), got {row.shape}"
            )
        if not np.isfinite(row).all():
            raise ValueError(f"map {name!r} has values that are not finite")
    signed = any((row < 0).any() for row in values.values())
    cmap, low = ("RdBu_r", -1.0) if signed else ("YlOrRd", 0.0)

    header = HEADER + (0.3 if title else 0.0)
    label = max(LABEL, 0.2 + LETTER * max(map(len, values)))
    width = label + PANEL[0] * len(views)
    height = header + PANEL[1] * len(values) + FOOTER
    figure = plt.figure(figsize=(width, height))
    for i, (name, row) in enumerate(values.items()):
        peak = np.abs(row).max()
        hemispheres = dict(zip(("left", "right"), model.expand(row / (peak or 1.0)), strict=True))
        bottom = (height - header - PANEL[1] * (i + 1)) / height
        middle = bottom + PANEL[1] / height / 2
        figure.text(0.12 / width, middle, name, weight="bold", va="bottom")
        its = unit if isinstance(unit, str) else unit.get(name, "")
        figure.text(0.12 / width, middle, f"max {peak:.3g} {its}".rstrip(), va="top", color="0.3")
        for j, (side, view) in enumerate(views):
            box = ((label + PANEL[0] * j) / width, bottom, PANEL[0] / width, PANEL[1] / height)
            axes = figure.add_axes(box, projection="3d")
            paint_hemisphere(
                axes, hemispheres[side], side, view, threshold=threshold, cmap=cmap, low=low
            )
            if i == 0:
                centre = box[0] + box[2] / 2
                figure.text(centre, 1 - (header - 0.1) / height, f"{side}, {view}", ha="center")
    if title:
        figure.text(0.5, 1 - 0.12 / height, title, ha="center", va="top", weight="bold")
    _share_bar(figure, cmap, low, label, threshold)
    return figure


def paint_hemisphere(
    axes: Axes3D,
    values: np.ndarray,
    side: str,
    view: str,
    *,
    threshold: float,
    cmap: str,
    low: float,
) -> None:
    """Draw one map on one inflated hemisphere.

    Parameters
    ----------
    axes : Axes3D
        Where to draw.
    values : ndarray, shape (10242,)
        Between `low` and one; NaN on the medial wall.
    side : {"left", "right"}
        Hemisphere.
    view : str
        See `plot_cortex`.
    threshold : float
        Absolute value below which nothing is painted.
    cmap : str
        Colour map.
    low : float
        Value of its lower end; its upper end is one.
    """
    files = fetch_surf_fsaverage("fsaverage5")
    plotting.plot_surf_stat_map(
        files[f"infl_{side}"],
        # NaN on the medial wall would fall below the threshold anyway
        np.nan_to_num(values),
        bg_map=_grey(files[f"sulc_{side}"]),
        hemi=side,
        view=view,
        threshold=max(threshold, 1e-6),
        cmap=cmap,
        vmin=low,
        vmax=1.0,
        symmetric_cbar=False,
        colorbar=False,
        axes=axes,
        figure=axes.figure,
    )
    axes.set_box_aspect(None, zoom=ZOOM)
    for triangles in axes.collections:  # else cut off by the square that the axes fill
        triangles.set_clip_on(False)


def _grey(sulcal_depth: str) -> np.ndarray:
    depth = surface.load_surf_data(sulcal_depth)
    low, high = np.quantile(depth, [0.05, 0.95])
    return GYRUS + (SULCUS - GYRUS) * np.clip((depth - low) / (high - low), 0, 1)


def _share_bar(figure: Figure, cmap: str, low: float, label: float, threshold: float) -> None:
    width, height = figure.get_size_inches()
    left, right = label + 0.4, 0.4
    box = (left / width, 0.5 / height, (width - left - right) / width, 0.12 / height)
    bar = ScalarMappable(Normalize(low, 1.0), cmap)
    colours = figure.colorbar(bar, cax=figure.add_axes(box), orientation="horizontal")
    colours.set_label(f"share of the row's maximum, painted from {threshold:g} on")
    for level in {threshold, -threshold} if low < 0 else {threshold}:
        colours.ax.axvline(level, color="0.2", lw=1)


def plot_head_model(model: HeadModel, *, sources: Sequence[int] | None = None) -> Figure:
    """Draw sensors and sources, the singular values, and topographies of some sources.

    Parameters
    ----------
    model : HeadModel
        A model with sensor positions.
    sources : sequence of int, optional
        Whose topographies to show, four at most. Default: the strongest source at the top, the
        left and the back of the head, and the weakest one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the model has no sensor positions.
    """
    info = model.info(1000.0)
    sensors = np.array([channel["loc"][:3] for channel in info["chs"]])
    if not np.isfinite(sensors).all() or not sensors.any():
        raise ValueError("this head model has no sensor positions to draw")
    chosen = _telling_sources(model) if sources is None else list(sources)[:4]
    figure = plt.figure(figsize=(11, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 4, height_ratios=(1.25, 1))
    forward = model.forward()
    places = np.asarray(forward["source_rr"])  # head frame, as the sensors are
    for column, (label, across, up) in enumerate((("from the right", 1, 2), ("from above", 0, 1))):
        axes = figure.add_subplot(grid[0, column])
        axes.scatter(*1e3 * places[:, [across, up]].T, s=4, c="0.65", linewidths=0)
        axes.scatter(*1e3 * sensors[:, [across, up]].T, s=14, c="tab:blue", linewidths=0)
        for number, source in enumerate(chosen):
            x, y = 1e3 * places[source, [across, up]]
            axes.plot(x, y, "o", ms=5, c="tab:red")
            axes.annotate(str(number + 1), (x, y), (4, 3), textcoords="offset points", c="tab:red")
        axes.set_aspect("equal")
        axes.set_title(label, fontsize=10)
        axes.set_xlabel(f"{'xyz'[across]} (mm, head frame)")
        axes.set_ylabel(f"{'xyz'[up]} (mm)")
    axes = figure.add_subplot(grid[0, 2:])
    singular = np.linalg.svd(model.leadfield, compute_uv=False)
    singular = singular[singular > 1e-10 * singular[0]]
    axes.semilogy(np.arange(1, len(singular) + 1), singular / singular[0], ".-", c="tab:blue")
    axes.set(xlabel="index", title=f"singular values over the largest: rank {len(singular)}")
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    for column, source in enumerate(chosen):
        axes = figure.add_subplot(grid[1, column])
        topography = model.leadfield[:, source]
        mne.viz.plot_topomap(topography, info, axes=axes, show=False, contours=4)
        peak = np.abs(topography).max()
        axes.set_title(f"{column + 1}: source {source}, max {peak:.3g} V/(A m)", fontsize=9)
    return figure


def _telling_sources(model: HeadModel) -> list[int]:
    """Strong sources of three places, and the weakest source of all."""
    size = np.linalg.norm(model.leadfield, axis=0)
    at = model.positions
    chosen = [
        int(np.where(near >= np.quantile(near, 0.9), size, 0).argmax())
        for near in (at[:, 2], -at[:, 0], -at[:, 1])
    ]
    return [*chosen, int(size.argmin())]
