"""EEG source imaging as a problem of the registry: simulated recordings on the fsaverage head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from learnmm.atoms import SmootherBound
from learnmm.choices import chosen
from learnmm.plain import make_plain
from learnmm.registry import Instance, Problem
from learnmm.storage import short
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.energy import SourceEnergy
from learnmm_esi.settings import check_size
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.noise import snr_range


@dataclass(frozen=True)
class ERPProblem(Problem):
    """Energy of :class:`SourceEnergy` for event-related potentials of one cortical patch each.

    994 sources times `times` unknowns. Not convex; its minima are not known in closed form, and
    the energy is at least 0. Every positive multiple of an iterate has the same energy.

    Parameters
    ----------
    head : HeadModelSettings
        The head model, built on first use and cached (half a minute for the default).
    times : int
        Time samples of a recording.
    snr_db : float
        Frobenius signal-to-noise ratio of the recordings in dB.
    bound : {"global", "pointwise"}
        See :class:`SourceEnergy`.

    Raises
    ------
    ValueError
        If a setting is none.
    """

    name: ClassVar[str] = "eeg-erp"
    head: HeadModelSettings = field(default_factory=lambda: HeadModelSettings(ico=3))
    times: int = 64
    snr_db: float = 5.0
    bound: SmootherBound | str = SmootherBound.GLOBAL

    def __post_init__(self) -> None:
        """Raise ValueError unless every setting is one, before a head model is built."""
        make_plain(self)
        if not isinstance(self.head, HeadModelSettings):
            raise ValueError(f"ERPProblem: head must be HeadModelSettings, got {short(self.head)}")
        check_size("ERPProblem: times", self.times)
        snr_range(self.snr_db)
        chosen(SmootherBound, self.bound, "ERPProblem: bound")

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Simulate recordings; start at their sLORETA estimates."""
        model = fsaverage_head_model(self.head)
        seed = int(torch.randint(2**31, (), generator=generator))
        simulator = ERPSimulator(model, seed=seed, snr_db=self.snr_db, times=self.times)
        recordings = simulator.batch(range(batch))
        energy = SourceEnergy(model, bound=self.bound, dtype=dtype)
        return Instance(
            objective=energy(recordings.sensors),
            x0=energy.start(recordings.sensors),
            facts={"convex": False, "seed": seed, "seed_source": recordings.seed_source},
        )
