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
LONELY = 0.3  # of what is not predicted, what one channel has that may be to blame for the rest
# What is left without a channel, of the least that is left so of any source. On 16 to 128 channels,
# of 1 to 4 patches and -5 to 20 dB, none of 960 recordings has less, but most where one of 64 or
# more channels has noise as strong as the recording.
ALONE = 0.8


class CrossValidation:
    """Predict every channel from the others through a lead field.

    Parameters
    ----------
    gain : ndarray, shape (channels, sources)
        As the recordings: referenced, projected and whitened.
    channels : ndarray, shape (channels, channels)
        What did that, so that its columns are what each channel alone becomes.
    """

    def __init__(self, gain: NDArray[np.float64], channels: NDArray[np.float64]) -> None:
        self._gain = gain * np.sqrt(len(gain) / np.sum(gain**2))
        self._channels = channels
        self._residual = _left_out(self._gain)
        self._without: dict[int, tuple[NDArray[np.float64], float]] = {}

    def __call__(self, recording: NDArray[np.float64]) -> float:
        """Return the share of the sum of squares that is predicted, at most 1, negative for none.

        Parameters
        ----------
        recording : ndarray, shape (channels, times)
            Not zero.
        """
        scaled = _scaled(recording)
        return float(1 - np.sum((self._residual @ scaled) ** 2) / np.sum(scaled**2))

    def odd_one(self, recording: NDArray[np.float64]) -> int | None:
        """Return the channel that is unlike the others as no source makes it, if there is one.

        Without it the others predict each other, and better than in the field of any source.

        Parameters
        ----------
        recording : ndarray, shape (channels, times)
            Not zero.
        """
        scaled = _scaled(recording)
        left = np.sum((self._residual @ scaled) ** 2, axis=1)
        channel = int(np.argmax(left))
        if left[channel] < LONELY * left.sum():
            return None
        if channel not in self._without:
            self._without[channel] = self._left_without(channel)
        residual, least = self._without[channel]
        alone = np.sum((residual @ scaled) ** 2) < ALONE * least * left.sum()
        return channel if alone else None

    def _left_without(self, channel: int) -> tuple[NDArray[np.float64], float]:
        """What gives residuals without a channel, and what of them is left at least of a source."""
        one = self._channels[:, channel]
        rest = np.eye(len(one)) - np.outer(one, one) / (one @ one)
        residual = _left_out(rest @ self._gain) @ rest
        left = np.sum((residual @ self._gain) ** 2, axis=0)
        return residual, float(np.min(left / np.sum((self._residual @ self._gain) ** 2, axis=0)))


def _scaled(recording: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a size whose squares neither overflow nor vanish, whatever the unit."""
    scaled: NDArray[np.float64] = recording / np.abs(recording).max()
    return scaled


def _left_out(gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """What gives the residuals of channels that are left out, of sources of variance one."""
    covariance, one = gain @ gain.T, np.eye(len(gain))
    smoother = np.linalg.solve(covariance + _REGULARIZATION * one, covariance)
    residual: NDArray[np.float64] = (one - smoother) / (1 - np.diag(smoother))[:, None]
    return residual


class Told(NamedTuple):
    """What is to be told of a recording.

    What it is called, the share of it that its estimate explains, the share that `CrossValidation`
    predicts, where it started (see `MMFit`), and the channel that is unlike all others, if any.
    """

    name: str
    explained: float
    predicted: float
    start: str = "linear"
    odd: str | None = None


def warn_about_misfit(solved: Sequence[Told]) -> None:
    """Warn, once for all, about recordings that are implausible, badly explained or unusual.

    Parameters
    ----------
    solved : sequence of Told
        What is to be told of each.
    """
    strange = [one.name for one in solved if one.predicted < PREDICTED]
    odd = {one.odd: one.name for one in reversed(solved) if one.odd is not None}
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
    for channel, name in odd.items():
        count = sum(one.odd == channel for one in solved)
        warnings.warn(
            f"{channel} of {name}{f' and {count - 1} others' if count > 1 else ''} is unlike what "
            "all other channels say, as no source makes it: unless it bears a wrong name, mark a "
            "noisy or loose channel as bad, or the estimate is of its noise",
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
