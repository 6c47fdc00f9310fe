"""What an inverse for recordings is told: how to solve, and what to do about channels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import mne

from learnmm.plain import flag, integer, is_number, make_plain
from learnmm_esi.fif import read_covariance

__all__ = ["InverseSettings", "OnMissing", "SensorSettings", "given"]

OnMissing = Literal["raise", "warn", "ignore"]
T = TypeVar("T")


MOST = 1e9
"""Of weight and diffusion: far below, the prior is all there is, and patches are the cortex."""


@dataclass(frozen=True)
class InverseSettings:
    """How sources are reconstructed: by what the noise of the recording says, or by training.

    Parameters
    ----------
    weight : float, optional
        Of smoothness against fit, the same for every recording (see `SourceEnergy`). Default: it
        follows from the noise of each recording, patch by patch (see `EvidenceEnergy`).
    diffusion : float, optional
        How far patches or smoothness reach, in neighbours squared. Default: patches of several
        sizes, of which the recording chooses; 10 with a weight.
    max_iter : int, optional
        Limit on steps. Default: 30, 60 with a weight, or what the weights were trained for.
    weights : str or path, optional
        Reconstruct with a trained method: the name of weights that come with the library, such
        as ``"mm-net"``, or a file. ``"mm-net"`` serves any electrodes
        and sampling rate; those trained on one head model serve that, all of its channels and its
        rate. They bring their own `weight` and smoothness.
    transfer : bool, default False
        Use the weights on another head model with the same sources and channels than they were
        trained for. Steps are verified as anywhere; how good the estimates are, only an evaluation
        tells.

    guided : bool, default False
        Take from the weights where patches are expected, and nothing else: the solver without
        weights decides (see `EvidenceEnergy`), in 30 steps. The weights must have a learned start.

    Raises
    ------
    TypeError
        If `weights` is neither a name nor a path, or `transfer` or `guided` neither True nor False.
    ValueError
        If weight or diffusion is not positive, `max_iter` no positive integer, `transfer` or
        `guided` is asked for without weights, or weight or diffusion beside them.
    """

    weight: float | None = None
    diffusion: float | None = None
    max_iter: int | None = None
    weights: str | os.PathLike[str] | None = None
    transfer: bool = False
    guided: bool = False

    def __post_init__(self) -> None:
        make_plain(self)
        for value in (self.weight, self.diffusion):
            if value is not None and not (is_number(value) and 0 < value <= MOST):
                raise ValueError(
                    "InverseSettings: weight and diffusion must be positive, "
                    f"got {self.weight!r:.60}, {self.diffusion!r:.60}, and at most {MOST:g}"
                )
        if self.max_iter is not None:
            integer("InverseSettings: max_iter", self.max_iter, 1)
        if not isinstance(self.weights, (str, os.PathLike, type(None))):
            raise TypeError(
                "InverseSettings: weights must be a name or the path of a file, got "
                f"{self.weights!r:.60}"
            )
        for name in ("transfer", "guided"):
            asked = flag(f"InverseSettings: {name}", getattr(self, name))
            if asked and self.weights is None:
                raise ValueError(f"{name}=True says how to use weights, and there are none")
        if self.weights is not None and not self.weight is self.diffusion is None:
            raise ValueError(
                "weight and diffusion are those of a solve without learning: a trained method has "
                f"its own, got {self.weight}, {self.diffusion} and weights"
            )


@dataclass(frozen=True, eq=False)
class SensorSettings:
    """What is done about the channels of a recording.

    Parameters
    ----------
    noise_cov : mne.Covariance or path, optional
        Whitens recordings and lead field. Its scale plays no role, so neither does the number of
        averages. Default: the same white noise on all channels.
    on_missing : {"raise", "warn", "ignore"}, default "raise"
        What to do about good EEG channels that the head model does not have.

    Raises
    ------
    TypeError
        If `noise_cov` is none of these.
    ValueError
        If `on_missing` is none of these.
    """

    noise_cov: mne.Covariance | str | os.PathLike[str] | None = None
    on_missing: OnMissing = "raise"

    def __post_init__(self) -> None:
        if not isinstance(self.noise_cov, (mne.Covariance, str, os.PathLike, type(None))):
            raise TypeError(
                "noise_cov must be an mne.Covariance or the path of one, got "
                f"{type(self.noise_cov).__name__}"
            )
        if self.on_missing not in get_args(OnMissing):
            raise ValueError(
                f"on_missing must be one of {get_args(OnMissing)}, got {self.on_missing!r}"
            )

    def covariance(self) -> mne.Covariance | None:
        """Return the noise covariance, read if it is a file."""
        if isinstance(self.noise_cov, (str, os.PathLike)):
            return read_covariance(self.noise_cov)
        return self.noise_cov


def given(name: str, kind: type[T], value: T | None) -> T:
    """Return a group of settings, the default one for None.

    Raises
    ------
    TypeError
        If it is another object.
    """
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}(...), got {value!r}")
    return kind() if value is None else value
