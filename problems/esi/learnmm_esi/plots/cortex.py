"""Maps of activity on the inflated cortex, side by side, without a 3-D backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from learnmm_esi.head.model import HeadModel
from learnmm_esi.plots.hemisphere import Palette, halves, paint_hemisphere

__all__ = ["plot_cortex"]

BOTH_SIDES = (("left", "lateral"), ("right", "lateral"))
PANEL = (2.8, 2.05)  # inches
LABEL, LETTER = 1.5, 0.1  # inches to the left of the panels, at least and per letter
HEADER, FOOTER = 0.45, 0.75  # inches above and below them


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
    values = {name: np.asarray(row, dtype=float) for name, row in maps.items()}
    for name, row in values.items():
        if row.shape != (len(model.positions),):
            raise ValueError(
                f"map {name!r} must have shape ({len(model.positions)},), got {row.shape}"
            )
        if not np.isfinite(row).all():
            raise ValueError(f"map {name!r} has values that are not finite")
    palette = Palette(any((row < 0).any() for row in values.values()), threshold)
    units = {name: unit if isinstance(unit, str) else unit.get(name, "") for name in values}

    header = HEADER + (0.3 if title else 0.0)
    label = max(LABEL, 0.2 + LETTER * max(map(len, values)))
    width = label + PANEL[0] * len(views)
    height = header + PANEL[1] * len(values) + FOOTER
    figure = plt.figure(figsize=(width, height))
    for i, (name, row) in enumerate(values.items()):
        hemispheres = halves(model, row)
        bottom = (height - header - PANEL[1] * (i + 1)) / height
        middle = bottom + PANEL[1] / height / 2
        figure.text(0.12 / width, middle, name, weight="bold", va="bottom")
        largest = f"max {np.abs(row).max():.3g} {units[name]}".rstrip()
        figure.text(0.12 / width, middle, largest, va="top", color="0.3")
        for j, (side, view) in enumerate(views):
            box = ((label + PANEL[0] * j) / width, bottom, PANEL[0] / width, PANEL[1] / height)
            axes = figure.add_axes(box, projection="3d")
            paint_hemisphere(axes, hemispheres[side], side, view, palette)
            if i == 0:
                centre = box[0] + box[2] / 2
                figure.text(centre, 1 - (header - 0.1) / height, f"{side}, {view}", ha="center")
    if title:
        figure.text(0.5, 1 - 0.12 / height, title, ha="center", va="top", weight="bold")
    _share_bar(figure, palette, label)
    return figure


def _share_bar(figure: Figure, palette: Palette, label: float) -> None:
    width, height = figure.get_size_inches()
    left, right = label + 0.4, 0.4
    box = (left / width, 0.5 / height, (width - left - right) / width, 0.12 / height)
    bar = ScalarMappable(Normalize(palette.low, 1.0), palette.cmap)
    colours = figure.colorbar(bar, cax=figure.add_axes(box), orientation="horizontal")
    colours.set_label(f"share of the row's maximum, painted from {palette.threshold:g} on")
    levels = {palette.threshold, -palette.threshold} if palette.signed else {palette.threshold}
    for level in levels:
        colours.ax.axvline(level, color="0.2", lw=1)
