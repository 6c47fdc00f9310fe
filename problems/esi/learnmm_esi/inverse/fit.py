"""What the optimizer did for one recording, in words and numbers of source imaging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import learnmm as lmm
from learnmm.vectors import expand, norm
from learnmm_esi.inverse.noise import NoiseEstimate

__all__ = ["MMFit", "explained_share", "fits_of", "unmoved_fit"]

REFUSED = "linear (learned one refused)"
GUIDED, UNGUIDED = "guided", "unguided"
UNHEARD = "unguided (learned start refused)"


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
    status : learnmm.Status or None
        Why it stopped; ``status.message`` is a sentence. None if the start was left as it is.
    kind : learnmm.Kind or None
        What kind of bound the solver has; None if no step was tried. The safeguard has looked at
        every step, whatever the bound; a step to its minimum is what a refused one falls back to.
    monotone : bool
        No step raised the energy.
    violations : int
        Candidates whose energy lay above the bound. For a `GLOBAL` bound zero, else it is wrong;
        for a `POINTWISE` one this happens, and a candidate that raises the energy is refused.
    start : str
        How it started. Of `EvidenceEnergy` with ``"unguided"`` patches, all alike; ``"guided"``
        where they were told where patches are expected; ``"unguided (learned start refused)"``
        where a learned start was to tell and was not heard: the estimate then is that without
        weights. Of other energies from what is ``"linear"``, ``"evidence"`` or ``"noise"``;
        ``"learned"`` where a learned start earned its place, and ``"linear (learned one refused)"``
        where it did not: the linear estimate then is left as it is.
    noise : float or None
        Share of the recording's sum of squares that was taken for noise, from which the weight of
        the prior follows; None where that is fixed or learned.
    """

    energies: NDArray[np.float64]
    explained: float
    status: lmm.Status | None
    kind: lmm.Kind | None
    monotone: bool
    violations: int
    start: str = "linear"
    noise: float | None = None

    def __str__(self) -> str:
        promise = "no step was tried"
        if self.kind is not None:
            promise = (
                f"{self.kind.name} bound, {'' if self.monotone else 'not '}monotone, "
                f"{self.violations} candidates above it"
            )
        noise = "" if self.noise is None else f", {100 * self.noise:.1f} % taken for noise"
        return (
            f"{self.start} start; energy {self.energies[0]:.4g} to {self.energies[-1]:.4g} in "
            f"{len(self.energies) - 1} steps, {100 * self.explained:.1f} % of the recording "
            f"explained{noise}; {promise}. {'' if self.status is None else self.status.message}"
        )


def explained_share(image: Tensor, recordings: Tensor) -> Tensor:
    """Share of the sum of squares of recordings that images ``(batch, sensors, times)`` explain."""
    image, recordings = (v / expand(norm(v), v) for v in (image, recordings))
    return (image * recordings).sum((1, 2)).square()


def unmoved_fit(energy: float, explained: float) -> MMFit:
    """Return the fit of a recording whose estimate is the linear one as it is.

    Parameters
    ----------
    energy, explained : float
        See `MMFit`.
    """
    return MMFit(np.array([energy]), explained, None, None, True, 0, REFUSED)


def fits_of(
    result: lmm.Result,
    image: Tensor,
    recordings: Tensor,
    start: str = "linear",
    noise: NoiseEstimate | None = None,
) -> list[MMFit]:
    """Read the fit of each recording off a result with history.

    Parameters
    ----------
    result : learnmm.Result
        Of a batch, with history.
    image : Tensor, shape (batch, sensors, times)
        What the sensors see of the estimates, in any unit.
    recordings : Tensor, shape (batch, sensors, times)
        What they recorded.
    start : str
        See `MMFit`.
    noise : NoiseEstimate, optional
        What their noise was taken to be.

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
    explained = explained_share(image, recordings)
    certificate = result.certificate
    return [
        MMFit(
            energies=energies[: int(result.iterations[i]) + 1, i],
            explained=float(explained[i]),
            status=lmm.Status(int(result.status[i])),
            kind=certificate.kind,
            monotone=bool(certificate.monotone[i]),
            violations=int(certificate.violations[i]),
            start=start,
            noise=None if noise is None else float(noise.share[i]),
        )
        for i in range(len(explained))
    ]
