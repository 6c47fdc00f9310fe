"""The head model: what the sensors see of each cortical source, and where the sources lie.

`learnmm_esi.head.fsaverage` builds one from what the MNE and nilearn wheels ship;
`learnmm_esi.head.from_forward`, `from_leadfield` and `from_file` take what users bring along, which
`learnmm_esi.head.registration` brings to fsaverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import mne
import numpy as np
from scipy import sparse

from learnmm_esi.head.cortex import N_VERTICES
from learnmm_esi.head.electrodes import electrode_info, placed_info
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.head.to_forward import fixed_forward

__all__ = ["Construction", "HeadModel", "Registration"]


@dataclass(frozen=True, eq=False)
class Construction:
    """How a head model was made of fsaverage.

    Attributes
    ----------
    settings : HeadModelSettings
        What was asked for.
    regions : ndarray of int, shape (20484,)
        Region of every fsaverage5 vertex, left then right; -1 on the medial wall.
    facts : mapping of str to float
        Numbers that `report` tells (thicknesses, moved vertices, ...).
    electrodes : ndarray, shape (sensors, 3), optional
        Where they lie on the skin in metres, surface RAS. Default: as the 90 of `electrode_info`.
    """

    settings: HeadModelSettings
    regions: np.ndarray
    facts: Mapping[str, float] = field(default_factory=dict)
    electrodes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Registration:
    """How a forward solution was brought to the regions of fsaverage.

    Attributes
    ----------
    construction : Construction
        Of the template.
    info : mne.Info
        With the sensors of the forward solution.
    shares : csr_matrix, shape (regions, sources)
        How many dipoles of each source make up a region: ``leadfield = gain @ shares.T``, and
        ``shares.T @ estimate`` are the moments of the sources.
    own : ndarray of bool, shape (regions,)
        Which regions have a source of their own; others have the nearest ones.
    """

    construction: Construction
    info: mne.Info
    shares: sparse.csr_matrix
    own: np.ndarray


@dataclass(frozen=True, eq=False)
class HeadModel:
    """Lead field and geometry of a source model.

    Arrays over sources list the left hemisphere first. Of a model that was not built on fsaverage,
    the fields that do not exist are None.

    Attributes
    ----------
    leadfield : ndarray of float64, shape (sensors, sources)
        V/(A m), average-referenced: columns sum to zero.
    positions : ndarray, shape (sources, 3)
        Metres, surface RAS (MNE's MRI frame): the vertex nearest to the region's centre of mass.
    normals : ndarray, shape (sources, 3), optional
        Unit vectors of the cortical normal there.
    neighbours : csr_matrix of bool, shape (sources, sources)
        Which regions share a mesh edge; symmetric, empty diagonal.
    distances : ndarray, shape (sources, sources), optional
        Geodesic distances along the cortex in metres; infinite across hemispheres.
    vertices : tuple of two ndarray of int, optional
        Vertex number of each source in the left and in the right hemisphere, ascending: on
        fsaverage5, or on the surfaces of the source space that was brought along.
    channel_names : tuple of str
        Names of the sensors, in the order of the lead field's rows.
    origin : Construction, Registration, mne.Forward or mne.Info, optional
        What the model was made of: its construction on fsaverage, or the fixed-orientation forward
        solution that was brought along, or its registration to fsaverage, or its sensors alone.
    """

    leadfield: np.ndarray
    positions: np.ndarray
    normals: np.ndarray | None
    neighbours: sparse.csr_matrix
    distances: np.ndarray | None
    vertices: tuple[np.ndarray, np.ndarray] | None
    channel_names: tuple[str, ...]
    origin: Construction | Registration | mne.Forward | mne.Info | None = None

    @property
    def settings(self) -> HeadModelSettings | None:
        """What was constructed."""
        return self.origin.settings if isinstance(self.origin, Construction) else None

    @property
    def regions(self) -> np.ndarray | None:
        """Region of every fsaverage5 vertex, see `Construction`."""
        return None if self._construction is None else self._construction.regions

    @property
    def _construction(self) -> Construction | None:
        """That of the regions, which may be those of another lead field."""
        origin = self.origin
        if isinstance(origin, Registration):
            return origin.construction
        return origin if isinstance(origin, Construction) else None

    def __repr__(self) -> str:
        sensors, sources = self.leadfield.shape
        return f"HeadModel({sensors} sensors, {sources} sources, {self.settings})"

    def info(self, sfreq: float) -> mne.Info:
        """Return channel information at a sampling frequency in Hz, with positions if known."""
        if isinstance(self.origin, Construction):
            if self.origin.electrodes is None:
                return electrode_info(sfreq)
            return placed_info(self.channel_names, self.origin.electrodes, sfreq)
        info = mne.create_info(list(self.channel_names), sfreq, "eeg")
        sensed = self.origin
        if isinstance(sensed, mne.Forward):
            sensed = sensed["info"]
        elif isinstance(sensed, Registration):
            sensed = sensed.info
        if isinstance(sensed, mne.Info):
            places = {c["ch_name"]: c["loc"][:3] for c in sensed["chs"]}
            info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
        return info

    def forward(self) -> mne.Forward:
        """Return a fixed-orientation `mne.Forward` whose gain is this lead field.

        It serves ``make_inverse_operator(..., loose=0, depth=0)``, ``apply_forward`` and
        ``mne.simulation``. The gain stays float64 in memory; ``mne.write_forward_solution`` stores
        float32.

        Raises
        ------
        ValueError
            If the model is a bare lead field, without sensor positions and surfaces.
        """
        if isinstance(self.origin, mne.Forward):
            return self.origin.copy()
        construction = self._construction
        if construction is None or self.normals is None or self.vertices is None:
            raise ValueError(
                "a model from a bare lead field has no sensor positions and surfaces to make an "
                "mne.Forward of; use head_model_from_forward, or fsaverage_head_model. To train on "
                "it, np.savez its arrays to a file, which train --forward takes (see "
                "read_head_model)"
            )
        info, surface = self.info(sfreq=1000.0), construction.settings.surface
        return fixed_forward(
            self.leadfield, info, self.positions, self.normals, self.vertices, surface
        )

    def expand(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give each fsaverage5 vertex the value of its region.

        Parameters
        ----------
        values : array_like, shape (sources, ...)
            One value per source, or several.

        Returns
        -------
        left, right : ndarray of float, shape (10242, ...)
            NaN on the medial wall.

        Raises
        ------
        ValueError
            If the model has no regions or `values` has another number of sources.
        """
        if self.regions is None:
            raise ValueError("this head model has no regions on fsaverage5 to expand values to")
        values = np.asarray(values, dtype=np.float64)
        if values.ndim == 0 or len(values) != len(self.positions):
            raise ValueError(
                f"values must have shape ({len(self.positions)}, ...), got {values.shape}"
            )
        maps = np.where(
            (self.regions >= 0).reshape(-1, *(1,) * (values.ndim - 1)), values[self.regions], np.nan
        )
        return maps[:N_VERTICES], maps[N_VERTICES:]
