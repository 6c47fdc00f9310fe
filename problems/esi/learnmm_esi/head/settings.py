"""What head model to construct on fsaverage."""

from __future__ import annotations

from dataclasses import dataclass

from learnmm.plain import make_plain
from learnmm_esi.head.boundaries import SKULLS
from learnmm_esi.head.cortex import N_VERTICES

__all__ = ["HeadModelSettings"]

CONDUCTIVITIES = 1e-5, 100.0  # S/m: what tissue is not, and what of mS/m shows


@dataclass(frozen=True)
class HeadModelSettings:
    """What `fsaverage_head_model` builds.

    Attributes
    ----------
    sources : int
        Number of cortical regions, over both hemispheres.
    ico : int
        Resolution of the boundary-element meshes: 4 (2562 vertices each) for results, 3 (642) for
        demonstrations and tests. With ``skull="fsaverage"``, which file of surfaces is read:
        ``mne.datasets.fetch_fsaverage`` brings that of 4.
    surface : {"pial", "white"}
        Where the dipoles of a region lie.
    column : {"sum", "vertex"}
        A source's column: the sum over the vertices of its region, or its centre vertex alone.
    conductivity : tuple of float
        Brain, skull, scalp in S/m, each in 1e-5 to 100.
    skull : {"half", "ratio", "constant", "fsaverage"}
        How the outer skull is constructed, see `learnmm_esi.head.boundaries`; or ``"fsaverage"``:
        all three boundaries are FreeSurfer's, see `learnmm_esi.head.freesurfer`.
    min_depth : float, optional
        Least depth of a dipole below the inner skull in metres; shallower ones are moved inwards.
        Default: half the mean edge of the inner skull's mesh (3.1 mm at ``ico=4``, 6.2 mm at
        ``ico=3``), from where on the boundary-element solution is accurate.
    """

    sources: int = 994
    ico: int = 4
    surface: str = "pial"
    column: str = "sum"
    conductivity: tuple[float, float, float] = (0.33, 0.004125, 0.33)
    skull: str = "half"
    min_depth: float | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        allowed = {
            "ico": (2, 3, 4, 5),
            "surface": ("pial", "white"),
            "column": ("sum", "vertex"),
            "skull": (*SKULLS, "fsaverage"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values or isinstance(getattr(self, name), float):
                raise ValueError(f"{name} must be one of {values}, got {getattr(self, name)!r}")
        if not isinstance(self.sources, int) or not 2 <= self.sources <= N_VERTICES:
            raise ValueError(f"sources must be an int in 2..{N_VERTICES}, got {self.sources!r}")
        low, high = CONDUCTIVITIES
        try:
            conductivity = tuple(map(float, self.conductivity))
        except (TypeError, ValueError):
            conductivity = ()
        if len(conductivity) != 3 or not all(low <= s <= high for s in conductivity):
            raise ValueError(
                "conductivity must be three positive numbers (brain, skull, scalp, in S/m), of "
                f"{low:g} to {high:g}, got {self.conductivity!r}"
            )
        object.__setattr__(self, "conductivity", conductivity)
        depth = self.min_depth
        if depth is not None and not (isinstance(depth, (int, float)) and 0 < depth < 0.02):
            raise ValueError(
                f"min_depth must lie between 0 and 0.02 metres, got {self.min_depth!r}"
            )
