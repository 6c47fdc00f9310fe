"""A recording made ready for an inverse: its channels, filter and energy, and the checked solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import mne
import numpy as np
import torch
from mne.utils import logger
from numpy.typing import NDArray

from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.energy import Reconstruction, SourceEnergy
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.inverse.fit import UNHEARD, MMFit, explained_share, fits_of, unmoved_fit
from learnmm_esi.recordings.channels import ChannelMatch, match_channels
from learnmm_esi.recordings.guided import GuidedInverse
from learnmm_esi.recordings.learned import SeeingInverse
from learnmm_esi.recordings.plausibility import CrossValidation, Told
from learnmm_esi.recordings.positions import check_positions
from learnmm_esi.recordings.preparation import (
    check_finite,
    check_reference,
    check_scale,
    spatial_filter,
    warn_about_flat,
)
from learnmm_esi.recordings.settings import OnMissing

__all__ = ["PreparedRecording", "Recording", "SeenModel", "Solved", "Solver"]

Recording: TypeAlias = mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
Solver: TypeAlias = SourceEnergy | EvidenceEnergy | SeeingInverse | GuidedInverse


class SeenModel:
    """A head model as the channels in use see it."""

    def __init__(self, model: HeadModel, leadfield: NDArray[np.float64]) -> None:
        self.leadfield = leadfield
        self.positions, self.neighbours = model.positions, model.neighbours
        self.distances = model.distances


class Solved(NamedTuple):
    """What `PreparedRecording.solve` returns.

    Attributes
    ----------
    sources : ndarray of float32, shape (recordings, sources, times)
        A m.
    fits : list of MMFit
        What the optimizer did for each.
    told : list of Told
        What `warn_about_misfit` judges them by.
    """

    sources: NDArray[np.float32]
    fits: list[MMFit]
    told: list[Told]


class PreparedRecording:
    """What is the same for all parts of a recording, and for all with these channels.

    Parameters
    ----------
    info : mne.Info
        Of the recording.
    model : HeadModel
        Whose sensors its channels are.
    noise_cov : mne.Covariance, optional
        To whiten with.
    on_missing : {"raise", "warn", "ignore"}
        See `match_channels`.
    solver : callable
        Given info, channels and filter, returns what reconstructs.
    max_iter : int, optional
        Limit on steps.
    verbose : bool, str, int or None
        MNE-Python's logging level.
    """

    def __init__(
        self,
        info: mne.Info,
        model: HeadModel,
        noise_cov: mne.Covariance | None,
        on_missing: OnMissing,
        solver: Callable[[mne.Info, ChannelMatch, NDArray[np.float64]], Solver],
        max_iter: int | None,
        verbose: bool | str | int | None,
    ) -> None:
        self.info, self.verbose = info, verbose
        self.max_iter = max_iter
        with mne.use_log_level(verbose):
            self.match = match_channels(info, model.channel_names, on_missing)
            check_positions(info, self.match, model.info(info["sfreq"]))
            self.filter = spatial_filter(info, self.match, noise_cov)
            self.projection = spatial_filter(info, self.match, None)
            gain = self.filter @ model.leadfield[self.match.rows]
            self._predicted = CrossValidation(gain, self.filter)
            self.energy = solver(info, self.match, self.filter)
            logger.info(
                "Reconstructing %d sources from %d of the head model's %d sensors",
                len(model.positions),
                len(self.match.rows),
                len(model.channel_names),
            )
        self.eeg = mne.pick_types(info, meg=False, eeg=True, exclude=())
        self.bad = np.isin([info["ch_names"][i] for i in self.eeg], info["bads"])
        self.used = np.searchsorted(self.eeg, self.match.picks)

    def solve(self, data: Sequence[NDArray[np.float64]], what: Sequence[str]) -> Solved:
        """Check and reconstruct recordings ``(channels, times)`` of all EEG channels."""
        sensors = []
        for one, name in zip(data, what, strict=True):
            check_finite(one[self.used], self.match.names, name)
            check_reference(self.info, one, self.bad)
            warn_about_flat(one[self.used], self.match.names, name)
            check_scale(self.projection @ one[self.used], name)
            sensors.append(self.filter @ one[self.used])
        batch = np.stack(sensors)
        reconstruction = self.reconstruct(batch)
        fits = self._fits(reconstruction, batch)
        told = [
            Told(name, fit.explained, self._predicted(one), fit.start, self._odd_one(one))
            for name, fit, one in zip(what, fits, sensors, strict=True)
        ]
        return Solved(reconstruction.sources, fits, told)

    def reconstruct(self, batch: NDArray[np.float64], guided: bool = True) -> Reconstruction:
        """Reconstruct ``(recordings, channels, times)`` of the channels in use, filtered."""
        energy = self.energy
        if isinstance(energy, GuidedInverse) and not guided:
            energy = energy.unguided
        if self.max_iter is None:
            return energy.reconstruct(batch)
        return energy.reconstruct(batch, max_iter=self.max_iter)

    def _odd_one(self, sensors: NDArray[np.float64]) -> str | None:
        channel = self._predicted.odd_one(sensors)
        return None if channel is None else self.match.names[channel]

    def _fits(self, reconstruction: Reconstruction, batch: NDArray[np.float64]) -> list[MMFit]:
        """What was done for each recording, those included whose learned start was refused."""
        result, refused = reconstruction.result, reconstruction.refused
        leadfield = self.energy.leadfield
        y = torch.as_tensor(batch, dtype=leadfield.matrix.dtype)
        if refused is None or reconstruction.unmoved is None:
            assert result is not None
            image = leadfield(torch.from_numpy(reconstruction.sources).to(y))
            fits = fits_of(result, image, y, reconstruction.start, reconstruction.noise)
            heard = [True] * len(fits) if refused is None else ~refused
            return [
                fit if yes else replace(fit, start=UNHEARD)
                for fit, yes in zip(fits, heard, strict=True)
            ]
        solved: list[MMFit] = []
        if result is not None:
            solved = fits_of(result, leadfield(result.x), y[~refused], "learned")
        estimates = torch.from_numpy(reconstruction.sources[refused])
        left: list[MMFit] = []
        if len(estimates):
            shares = explained_share(leadfield(estimates), y[refused])
            left = list(map(unmoved_fit, reconstruction.unmoved.tolist(), shares.tolist()))
        return [(left if no else solved).pop(0) for no in refused]
