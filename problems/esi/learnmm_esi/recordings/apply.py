"""Reconstruct MNE-Python recordings: Evoked, Epochs and Raw in, SourceEstimate out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import mne
import numpy as np
from mne.utils import logger
from numpy.typing import NDArray

from learnmm_esi.head.from_file import read_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.energy import SourceEnergy, check_size
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.recordings.channels import ChannelMatch
from learnmm_esi.recordings.learned import LearnedInverse
from learnmm_esi.recordings.mne_options import refuse_options
from learnmm_esi.recordings.preparation import why_no_epochs
from learnmm_esi.recordings.prepared import PreparedRecording, Recording, SeenModel
from learnmm_esi.recordings.raw_parts import RawSpan, good_parts
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings, given

__all__ = ["MMInverse", "apply_mm"]

BATCH_VALUES = 2**20  # sources x times x epochs solved at once: 4 MiB for each working array


class MMInverse:
    """Source imaging by majorize-minimize steps, prepared for one head model.

    Preparing takes seconds (a singular value decomposition and a matrix exponential), so keep the
    object where several recordings share a head model: what is prepared is used again as long as
    the good channels and the projectors stay the same.

    Parameters
    ----------
    model : HeadModel, mne.Forward or path
        From `fsaverage_head_model` or `head_model_from_forward`; or a forward solution, or its
        ``-fwd.fif`` file, with surface source spaces. At most 10 000 sources, unless there are
        weights.
    settings : InverseSettings, optional
        How to solve.
    sensors : SensorSettings, optional
        What to do about channels.
    **options
        Of MNE-Python's inverses: refused, with what serves instead.

    Raises
    ------
    TypeError
        If `model` is none of the above, or an option of MNE-Python is none here: the message says
        why.
    ValueError
        If the sources do not lie on two surfaces or are too many.

    Notes
    -----
    Channels are matched by name, in any order and case; T3, T4, T5 and T6 are T7, T8, P7 and P8,
    and "EEG Fp1-Ref" is Fp1 (see `match_channels`). Bad channels and channels of other types are
    left out, on the side of the head model too, which is then referenced to the average of the
    channels that are left. Projectors are applied to data and lead field as MNE-Python's inverses
    do, whether they are active or not. Electrode positions are those of the head model; those of
    the recording, if it has some, are compared with them (see `check_positions`).

    A warning says so where an estimate explains less than half of a recording. The opposite proves
    nothing: sources anywhere explain few channels.

    The energy runs over space and time of one recording and knows no rates: any sampling frequency
    will do. It does see a baseline, so correct it or filter beforehand. Cropping to the time
    of interest makes the estimate one of that time.

    Examples
    --------
    >>> inverse = MMInverse(fsaverage_head_model())          # doctest: +SKIP
    >>> evoked.set_eeg_reference(projection=True)            # doctest: +SKIP
    >>> stc = inverse.apply(evoked)                          # doctest: +SKIP
    >>> stc, fit = inverse.apply(evoked, return_result=True) # doctest: +SKIP
    """

    def __init__(
        self,
        model: HeadModel | mne.Forward | str | os.PathLike[str],
        settings: InverseSettings | None = None,
        *,
        sensors: SensorSettings | None = None,
        **options: Any,
    ) -> None:
        refuse_options("MMInverse", options)
        self.settings = given("settings", InverseSettings, settings)
        self.sensors = given("sensors", SensorSettings, sensors)
        self.model = _head_model(model)
        self.noise_cov = self.sensors.covariance()
        self.learned: LearnedInverse | None = None
        if self.settings.weights is None:
            check_size(len(self.model.positions))
        else:
            self.learned = LearnedInverse(self.settings.weights, self.model, self.settings.transfer)
        self._prepared: tuple[bytes, SourceEnergy] | None = None

    def __repr__(self) -> str:
        solving = f"weight={self.settings.weight!r}, diffusion={self.settings.diffusion!r}"
        if self.learned is not None:
            solving = f"weights={self.learned.path.name!r}"
        sensors, sources = self.model.leadfield.shape
        return f"MMInverse({sensors} sensors, {sources} sources, {solving})"

    @property
    def subject(self) -> str | None:
        """FreeSurfer subject of the estimates, if known."""
        if not isinstance(self.model.origin, mne.Forward):
            return "fsaverage"
        subject: str | None = self.model.origin["src"][0].get("subject_his_id")
        return subject

    def apply(
        self,
        inst: Recording,
        *,
        span: RawSpan | None = None,
        return_generator: bool = False,
        return_result: bool = False,
        verbose: bool | str | int | None = None,
        **options: Any,
    ) -> Any:
        """Estimate the sources of a recording, which is not modified.

        Parameters
        ----------
        inst : Evoked, Epochs or Raw
            In V, with an average reference or a projector for it.
        span : RawSpan, optional
            Of a Raw: which samples, and how many at once. Default: all.
        return_generator : bool, default False
            For Epochs: compute each when it is asked for.
        return_result : bool, default False
            Also return what the optimizer did.
        verbose : bool, str, int or None
            MNE-Python's logging level.
        **options
            Of MNE-Python's inverses: refused, with what serves instead.

        Returns
        -------
        stc : mne.SourceEstimate, or list or generator of them for Epochs
            Dipole moments in A m, float32; those of a source of `fsaverage_head_model` are the
            moment of every vertex of its region (see `HeadModel`).
        fit : MMFit, or list of them for Raw
            With ``return_result=True``; Epochs then give pairs ``(stc, fit)``.

        Raises
        ------
        TypeError
            If `inst` is no recording, or an option of MNE-Python is none here: the message says
            why.
        ValueError
            If channels are unknown or too few, names and positions of the electrodes disagree, the
            reference is missing (`MissingReferenceError`), or data are not finite, zero, or
            evidently not in V.

        Warns
        -----
        RuntimeWarning
            If an estimate explains little of its recording, electrodes lie elsewhere than their
            names say, the recording is of another length than weights were trained on, or all
            epochs were rejected.
        """
        refuse_options("apply", options)
        if not isinstance(inst, (mne.BaseEpochs, mne.Evoked, mne.io.BaseRaw)):
            raise TypeError(
                f"expected an mne.Evoked, Epochs or Raw, got {type(inst).__name__}; for arrays use "
                "SourceEnergy(model).reconstruct(data)"
            )
        if span is not None and not isinstance(inst, mne.io.BaseRaw):
            what = "the Evoked" if isinstance(inst, mne.Evoked) else "Epochs"
            raise ValueError(f"span is for Raw; crop {what} instead")
        if isinstance(inst, mne.BaseEpochs):
            pairs = self._apply_epochs(inst, verbose)
            items = pairs if return_result else (stc for stc, _ in pairs)
            return items if return_generator else list(items)
        if return_generator:
            raise ValueError("return_generator is for Epochs: other recordings give one estimate")
        stc, fit = (
            self._apply_evoked(inst, verbose)
            if isinstance(inst, mne.Evoked)
            else self._apply_raw(inst, given("span", RawSpan, span), verbose)
        )
        return (stc, fit) if return_result else stc

    def _apply_evoked(
        self, evoked: mne.Evoked, verbose: bool | str | int | None
    ) -> tuple[mne.SourceEstimate, MMFit]:
        source = self._prepare(evoked, verbose)
        self._check_length(len(evoked.times))
        what = f"evoked {evoked.comment!r}" if evoked.comment else "the evoked"
        estimate, fits = source.solve([evoked.data[source.eeg]], [what])
        source.warn()
        return self._estimate(estimate[0], evoked.times[0], evoked.info["sfreq"]), fits[0]

    def _apply_epochs(
        self, inst: mne.BaseEpochs, verbose: bool | str | int | None
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        """Check Epochs now; their estimates are made when they are asked for."""
        # On a copy, because asking for the good epochs of a file not loaded drops others.
        epochs = inst if inst.preload else inst.copy().drop_bad(verbose="ERROR")
        if len(epochs) == 0:
            warnings.warn(why_no_epochs(epochs), RuntimeWarning, stacklevel=3)
        self._check_length(len(epochs.times))
        return self._solve_epochs(epochs, self._prepare(inst, verbose))

    def _solve_epochs(
        self, epochs: mne.BaseEpochs, source: PreparedRecording
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        size = max(1, BATCH_VALUES // (len(self.model.positions) * len(epochs.times)))
        for first in range(0, len(epochs), size):
            indices = range(first, min(first + size, len(epochs)))
            with mne.use_log_level(source.verbose):
                data = epochs.get_data(picks=source.eeg, item=list(indices), copy=False)
                estimates, fits = source.solve(data, [f"epoch {i}" for i in indices])
            source.warn()
            for estimate, fit in zip(estimates, fits, strict=True):
                yield self._estimate(estimate, epochs.times[0], epochs.info["sfreq"]), fit

    def _apply_raw(
        self, raw: mne.io.BaseRaw, span: RawSpan, verbose: bool | str | int | None
    ) -> tuple[mne.SourceEstimate, list[MMFit]]:
        source = self._prepare(raw, verbose)
        first, last = span.limits(raw)
        sfreq = raw.info["sfreq"]
        size = span.buffer_size
        if size is None:
            size = max(1, round(sfreq)) if self.learned is None else self.learned.times
        parts = good_parts(raw, first, last, size, span.reject_by_annotation)
        lengths = {end - begin for begin, end in parts}
        for times in sorted({min(lengths), max(lengths)}):
            self._check_length(times)
        sources = np.full((len(self.model.positions), last - first), np.nan, dtype=np.float32)
        fits: list[MMFit] = []
        for begin, end in parts:
            data = raw.get_data(picks=source.eeg, start=begin, stop=end, verbose="ERROR")
            estimate, fit = source.solve([data], [f"the part from sample {begin} to {end - 1}"])
            sources[:, begin - first : end - first] = estimate[0]
            fits += fit
        source.warn()
        return self._estimate(sources, raw.times[first], sfreq), fits

    def _prepare(self, inst: Recording, verbose: bool | str | int | None) -> PreparedRecording:
        return PreparedRecording(
            inst,
            self.model,
            self.noise_cov,
            self.sensors.on_missing,
            self._solver,
            self.settings.max_iter,
            verbose,
        )

    def _check_length(self, times: int) -> None:
        if self.learned is not None:
            self.learned.check_length(times)

    def _estimate(
        self, sources: NDArray[np.float32], tmin: float, sfreq: float
    ) -> mne.SourceEstimate:
        assert self.model.vertices is not None  # `_head_model` has seen to it
        vertices = [np.array(v) for v in self.model.vertices]
        return mne.SourceEstimate(sources, vertices, tmin, 1.0 / sfreq, subject=self.subject)

    def _solver(
        self, info: mne.Info, match: ChannelMatch, matrix: NDArray[np.float64]
    ) -> SourceEnergy | LearnedInverse:
        if self.learned is not None:
            self.learned.check(info, match, matrix)
            return self.learned
        key = match.rows.tobytes() + matrix.tobytes()
        if self._prepared is None or self._prepared[0] != key:
            logger.info("Preparing the energy of %d channels", len(match.rows))
            seen = SeenModel(self.model, matrix @ self.model.leadfield[match.rows])
            settings = self.settings
            self._prepared = key, SourceEnergy(seen, settings.weight, settings.diffusion)
        return self._prepared[1]


def apply_mm(
    inst: Recording,
    model: HeadModel | mne.Forward | str | os.PathLike[str],
    settings: InverseSettings | None = None,
    *,
    sensors: SensorSettings | None = None,
    span: RawSpan | None = None,
    return_generator: bool = False,
    return_result: bool = False,
    verbose: bool | str | int | None = None,
    **options: Any,
) -> Any:
    """Estimate the sources of a recording: ``MMInverse(model, ...).apply(inst, ...)``.

    Parameters
    ----------
    inst : Evoked, Epochs or Raw
        In V, with an average reference or a projector for it. Not modified.
    model : HeadModel, mne.Forward or path
        Head model, or a forward solution with surface source spaces.
    settings : InverseSettings, optional
        How to solve.
    sensors : SensorSettings, optional
        What to do about channels.
    span, return_generator, return_result, verbose, **options
        See `MMInverse.apply`.

    Returns
    -------
    stc : mne.SourceEstimate, or list or generator of them for Epochs
        Dipole moments in A m; pairs with an `MMFit` if ``return_result=True``.

    Raises
    ------
    TypeError, ValueError
        See `MMInverse` and `MMInverse.apply`.

    Examples
    --------
    >>> evoked = mne.read_evokeds("left-ave.fif", 0)    # doctest: +SKIP
    >>> evoked.set_eeg_reference(projection=True)       # doctest: +SKIP
    >>> model = fsaverage_head_model()                  # doctest: +SKIP
    >>> stc = apply_mm(evoked, model)                   # doctest: +SKIP
    >>> smoother = InverseSettings(weight=2.0)          # doctest: +SKIP
    >>> stc = apply_mm(evoked, model, smoother)         # doctest: +SKIP
    """
    refuse_options("apply_mm", options)
    return MMInverse(model, settings, sensors=sensors).apply(
        inst,
        span=span,
        return_generator=return_generator,
        return_result=return_result,
        verbose=verbose,
    )


def _head_model(model: HeadModel | mne.Forward | str | os.PathLike[str]) -> HeadModel:
    """Return the head model, read or made of what was given, or say why it does not serve."""
    if isinstance(model, (mne.Forward, str, os.PathLike)):
        model = read_head_model(model)
    if not isinstance(model, HeadModel):
        raise TypeError(
            "model must be a HeadModel, an mne.Forward or the path of one, got "
            f"{type(model).__name__}"
        )
    if model.vertices is None:
        raise ValueError(
            "an mne.SourceEstimate needs sources on two cortical surfaces, which this head "
            "model does not have; for arrays use SourceEnergy(model).reconstruct(data)"
        )
    return model
