"""The simulator of a data set, by the data set's name."""

from __future__ import annotations

from typing import Any

from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.nmm import NMMSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.simulation.simulator import PatchSimulator
from learnmm_esi.sources import SourceModel

DATA = ("erp", "nmm")
"""Event-related potentials, and interictal spikes of neural masses."""


def simulator(
    model: SourceModel, data: str, seed: int, size: int, **settings: Any
) -> PatchSimulator:
    """Return the simulator of a data set.

    Parameters
    ----------
    model : SourceModel
        The head model. Patches fall off with the geodesic distance where it is known.
    data : {"erp", "nmm"}
        `ERPSimulator` or `NMMSimulator`.
    seed : int
        Names the data set.
    size : int
        Number of samples.
    **settings
        Of this simulator.

    Raises
    ------
    ValueError
        If there is no such data set.
    """
    if data not in DATA:
        raise ValueError(f"data must be one of {', '.join(DATA)}, got {data!r}")
    make = ERPSimulator if data == "erp" else NMMSimulator
    patches = PatchSettings(distance="euclidean" if model.distances is None else "geodesic")
    return make(model, seed, size, patches=patches, **settings)
