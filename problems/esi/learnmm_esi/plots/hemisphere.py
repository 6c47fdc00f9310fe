"""One map on one inflated hemisphere, and what its colours mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpl_toolkits.mplot3d import Axes3D
from nilearn import plotting, surface
from nilearn.datasets import fetch_surf_fsaverage
from numpy.typing import NDArray

from learnmm_esi.head.model import HeadModel

__all__ = ["Palette", "halves", "paint_hemisphere"]

ZOOM = 1.9  # of the brain in its panel: matplotlib leaves wide margins around 3-D axes
GYRUS, SULCUS = 0.12, 0.42  # greys behind the map, light enough not to compete with it


@dataclass(frozen=True)
class Palette:
    """How maps that are divided by their largest absolute value are painted.

    Parameters
    ----------
    signed : bool
        Whether there are values below zero, which then have a colour of their own.
    threshold : float
        Absolute value below which nothing is painted, in [0, 1).

    Raises
    ------
    ValueError
        If the threshold lies outside.
    """

    signed: bool
    threshold: float

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must lie in [0, 1), got {self.threshold}")

    @property
    def cmap(self) -> str:
        """Name of the colour map."""
        return "RdBu_r" if self.signed else "YlOrRd"

    @property
    def low(self) -> float:
        """Value of its lower end; its upper end is one."""
        return -1.0 if self.signed else 0.0


def halves(model: HeadModel, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Bring a map of the sources to "left" and "right", divided by its largest absolute value."""
    largest = np.abs(values).max()
    return dict(zip(("left", "right"), model.expand(values / (largest or 1.0)), strict=True))


def paint_hemisphere(
    axes: Axes3D, values: NDArray[np.float64], side: str, view: str, palette: Palette
) -> None:
    """Draw one map on one inflated hemisphere.

    Parameters
    ----------
    axes : Axes3D
        Where to draw.
    values : ndarray, shape (10242,)
        At most one in absolute value; NaN on the medial wall.
    side : {"left", "right"}
        Hemisphere.
    view : str
        See `plot_cortex`.
    palette : Palette
        How to paint.
    """
    files = fetch_surf_fsaverage("fsaverage5")
    plotting.plot_surf_stat_map(
        files[f"infl_{side}"],
        # NaN on the medial wall would fall below the threshold anyway
        np.nan_to_num(values),
        bg_map=_grey(files[f"sulc_{side}"]),
        hemi=side,
        view=view,
        threshold=max(palette.threshold, 1e-6),
        cmap=palette.cmap,
        vmin=palette.low,
        vmax=1.0,
        symmetric_cbar=False,
        colorbar=False,
        axes=axes,
        figure=axes.figure,
    )
    axes.set_box_aspect(None, zoom=ZOOM)
    for triangles in axes.collections:  # else cut off by the square that the axes fill
        triangles.set_clip_on(False)


def _grey(sulcal_depth: str) -> NDArray[np.float64]:
    depth = surface.load_surf_data(sulcal_depth)
    low, high = np.quantile(depth, [0.05, 0.95])
    grey: NDArray[np.float64] = GYRUS + (SULCUS - GYRUS) * np.clip(
        (depth - low) / (high - low), 0, 1
    )
    return grey
