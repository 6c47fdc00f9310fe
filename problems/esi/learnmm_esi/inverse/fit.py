"""What the optimizer did for one recording, in words and numbers of source imaging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import learnmm as lmm
from learnmm.vectors import expand, norm

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
    kind : learnmm.Kind or None
        What kind of bound the steps rest on; None if no step was tried.
    monotone : bool
        No step raised the energy.
    violations : int
        Candidates whose energy lay above the bound. For a `GLOBAL` bound zero, else it is wrong;
        for a `POINTWISE` one this happens, and a candidate that raises the energy is refused.
    """

    energies: NDArray[np.float64]
    explained: float
    status: lmm.Status
    kind: lmm.Kind | None
    monotone: bool
    violations: int

    def __str__(self) -> str:
        promise = "no step was tried"
        if self.kind is not None:
            promise = (
                f"{self.kind.name} bound, {'' if self.monotone else 'not '}monotone, "
                f"{self.violations} candidates above it"
            )
        return (
            f"energy {self.energies[0]:.4g} to {self.energies[-1]:.4g} in "
            f"{len(self.energies) - 1} steps, {100 * self.explained:.1f} % of the recording "
            f"explained; {promise}. {self.status.message}"
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

    Raises
    ------
    ValueError
        If steps were made and `result` has no history.
    """
    values = [result.initial_fun[None]]
    if result.history is not None:
        values.append(result.history.value)
    elif bool(result.iterations.any()):
        raise ValueError("fits_of: expected a result of minimize(history=True), got no history")
    energies = torch.cat(values).double().numpy()  # (steps + 1, batch)
    image, recordings = (v / expand(norm(v), v) for v in (image, recordings))
    explained = (image * recordings).sum((1, 2)).square()
    certificate = result.certificate
    return [
        MMFit(
            energies=energies[: int(result.iterations[i]) + 1, i],
            explained=float(explained[i]),
            status=lmm.Status(int(result.status[i])),
            kind=certificate.kind,
            monotone=bool(certificate.monotone[i]),
            violations=int(certificate.violations[i]),
        )
        for i in range(len(explained))
    ]
