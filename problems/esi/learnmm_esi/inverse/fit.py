"""What the optimizer did for one recording, in words and numbers of source imaging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import learnmm as lmm
from learnmm.curvature import expand, norm

__all__ = ["MMFit", "fits_of"]


@dataclass(frozen=True, eq=False)
class MMFit:
    """What the optimizer did for one recording, and what it promises.

    Attributes
    ----------
    energies : ndarray, shape (steps + 1,)
        Energy at the start and after every step.
    explained : float
        Share of the recording's sum of squares that the estimate explains, after projection (and
        whitening, if there was a noise covariance), in [0, 1].
    status : learnmm.Status
        Why it stopped; ``status.message`` is a sentence.
    kind : learnmm.Kind
        What kind of bound the steps rest on.
    monotone : bool
        No step raised the energy.
    violations : int
        Candidates whose energy lay above the bound. For a `GLOBAL` bound zero, else it is wrong;
        for a `POINTWISE` one this happens, and a candidate that raises the energy is refused.
    """

    energies: NDArray[np.float64]
    explained: float
    status: lmm.Status
    kind: lmm.Kind
    monotone: bool
    violations: int

    def __str__(self) -> str:
        return (
            f"energy {self.energies[0]:.4g} to {self.energies[-1]:.4g} in "
            f"{len(self.energies) - 1} steps, {100 * self.explained:.1f} % of the recording "
            f"explained; {self.kind.name} bound, {'' if self.monotone else 'not '}monotone, "
            f"{self.violations} candidates above it. {self.status.message}"
        )


def fits_of(result: lmm.Result, image: Tensor, recordings: Tensor) -> list[MMFit]:
    """Read the fit of each recording off a result with history.

    Parameters
    ----------
    result : learnmm.Result
        Of a batch, with history.
    image : Tensor, shape (batch, sensors, times)
        What the sensors see of the estimates, in any unit.
    recordings : Tensor, shape (batch, sensors, times)
        What they recorded.

    Returns
    -------
    list of MMFit
    """
    image, recordings = (v / expand(norm(v), v) for v in (image, recordings))
    explained = (image * recordings).sum((1, 2)).square()
    values = torch.cat([result.initial_fun[None], result.history.value]).double().numpy()
    certificate = result.certificate
    return [
        MMFit(
            energies=values[: int(result.iterations[i]) + 1, i],
            explained=float(explained[i]),
            status=lmm.Status(int(result.status[i])),
            kind=certificate.kind,
            monotone=bool(certificate.monotone[i]),
            violations=int(certificate.violations[i]),
        )
        for i in range(len(explained))
    ]
