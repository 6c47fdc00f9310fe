"""Whether a recording can be the field of sources in this head, and whether an estimate tells.

An estimate explains nearly any recording: noise of 8 channels by 99 %. What tells is whether the
sources that fit all channels but one predict this one. For the linear minimum-norm estimate the
answer has a closed form (Allen's PRESS, Technometrics 16, 1974): with ``C = G G^T`` of mean
eigenvalue one and ``S = C (C + lambda I)^-1``, the residual at a channel that was left out is
``(y - S y)_i / (1 - S_ii)``, up to the reference, in which it had its share.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.inverse.fit import REFUSED, UNHEARD

__all__ = ["EXPLAINED", "PREDICTED", "CrossValidation", "warn_about_misfit"]

INSTEAD = {REFUSED: "the linear one", UNHEARD: "that of the solver without weights"}
"""What is handed out where a learned start was refused, by what is said of the start."""

EXPLAINED = 0.5  # share of a recording below which an estimate is not to be believed
# On the template head with 16 to 90 channels, recordings at 5 dB have shares from 0.39 on, at 0 dB
# from 0.15 on; white noise stays below 0, and most recordings whose channels were permuted, too.
PREDICTED = 0.1
_REGULARIZATION = 1.0


class CrossValidation:
    """Predict every channel from the others through a lead field.

    Parameters
    ----------
    gain : ndarray, shape (channels, sources)
        As the recordings: referenced, projected and whitened.
    """

    def __init__(self, gain: NDArray[np.float64]) -> None:
        covariance = gain @ gain.T
        size = len(gain)
        covariance = covariance * (size / np.trace(covariance))
        smoother = np.linalg.solve(covariance + _REGULARIZATION * np.eye(size), covariance)
        self._residual = (np.eye(size) - smoother) / (1 - np.diag(smoother))[:, None]

    def __call__(self, recording: NDArray[np.float64]) -> float:
        """Return the share of the sum of squares that is predicted, at most 1, negative for none.

        Parameters
        ----------
        recording : ndarray, shape (channels, times)
            Not zero.
        """
        scaled = recording / np.abs(recording).max()
        return float(1 - np.sum((self._residual @ scaled) ** 2) / np.sum(scaled**2))


class Told(NamedTuple):
    """What is to be told of a recording.

    What it is called, the share of it that its estimate explains, the share that `CrossValidation`
    predicts, and where it started (see `MMFit`).
    """

    name: str
    explained: float
    predicted: float
    start: str = "linear"


def warn_about_misfit(solved: Sequence[Told]) -> None:
    """Warn, once for all, about recordings that are implausible, badly explained or unusual.

    Parameters
    ----------
    solved : sequence of Told
        What is to be told of each.
    """
    strange = [one.name for one in solved if one.predicted < PREDICTED]
    poor = [(one.explained, one.name) for one in solved if one.explained < EXPLAINED]
    for start, taken in INSTEAD.items():
        refused = [one.name for one in solved if one.start == start]
        if refused:
            warnings.warn(
                f"the learned start of {_some(refused)} was refused, as it does not fit the "
                "recording as right ones do, or the recording is unlike those of the training: the "
                f"estimate is {taken}",
                RuntimeWarning,
                stacklevel=5,
            )
    if strange:
        warnings.warn(
            f"the topography of {_some(strange)} is implausible: its channels predict each other "
            "hardly better than noise does. They may bear wrong names, be bipolar or mostly noise; "
            "do not trust the estimate",
            RuntimeWarning,
            stacklevel=5,
        )
    if poor:
        least = min(poor)
        warnings.warn(
            f"the estimate explains {100 * least[0]:.0f} % of {least[1]}"
            f"{f' (and little of {len(poor) - 1} others)' if len(poor) > 1 else ''}: do not trust "
            "it. The recording may be mostly noise, or unlike what weights were trained on; then "
            "leave out the weights, or crop it to a response",
            RuntimeWarning,
            stacklevel=5,
        )


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} others"
