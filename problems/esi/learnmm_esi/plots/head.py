"""A head model at a glance: its sensors and sources, its rank, what some sources look like."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.figure import Figure

from learnmm_esi.head.model import HeadModel

__all__ = ["plot_head_model"]


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
        for points, size, colour in ((places, 4, "0.65"), (sensors, 14, "tab:blue")):
            x, y = 1e3 * points[:, [across, up]].T
            axes.scatter(x, y, s=size, c=colour, linewidths=0)
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
