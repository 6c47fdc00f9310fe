"""Weights that say where to look, and the evidence of the recording, which decides."""

from __future__ import annotations

from dataclasses import replace

import torch
from numpy.typing import ArrayLike

import learnmm as lmm
from learnmm_esi.inverse.energy import Reconstruction
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.recordings.learned import SeeingInverse
from learnmm_esi.sources import SourceModel

__all__ = ["GuidedInverse"]


class GuidedInverse:
    """The solver without weights, which expects patches where a learned start is strong.

    The power of the learned start at a source is taken for the probability that a patch has its
    middle there; anything sharper helps single patches and loses the weaker of two. How many
    patches there are, how wide and how strong, follows from the recording as ever (see
    `EvidenceEnergy`), and so does the place where the recording is clear. A start that is refused
    tells nothing: all places are alike.

    Parameters
    ----------
    seeing : SeeingInverse
        Weights with a learned start.
    model : SourceModel
        Lead field of the same channels, and neighbours.

    Attributes
    ----------
    unguided : EvidenceEnergy
        The solver without weights.

    Raises
    ------
    ValueError
        If the weights have no learned start.
    """

    def __init__(self, seeing: SeeingInverse, model: SourceModel) -> None:
        if seeing.solver.energy.sharpener is None:
            raise ValueError(
                "guided=True needs weights with a learned start, and these start from "
                f"{seeing.solver.energy.initial}"
            )
        self._seeing, self.unguided = seeing, EvidenceEnergy(model)

    @property
    def leadfield(self) -> lmm.linear.MatrixMap:
        """What the sensors see, divided by its norm."""
        return self.unguided.leadfield

    @torch.no_grad()
    def reconstruct(
        self, sensors: ArrayLike, *, max_iter: int = 30, progress: bool = False
    ) -> Reconstruction:
        """Estimate sources of recordings ``(batch, channels, times)`` in V."""
        start, accepted = self._seeing.solver.energy.judged_start(torch.as_tensor(sensors))
        assert accepted is not None
        expected = start.double().square().sum(2)
        heard = accepted & expected.isfinite().all(1)
        found = self.unguided.reconstruct(
            sensors,
            expected=torch.where(heard[:, None], expected, torch.ones_like(expected)),
            max_iter=max_iter,
            progress=progress,
        )
        return replace(found, refused=(~heard).cpu().numpy())
