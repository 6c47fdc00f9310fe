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

from learnmm_esi.fif import read_covariance
from learnmm_esi.head.from_file import read_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.energy import SourceEnergy, check_size
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.recordings.channels import ChannelMatch, OnMissing
from learnmm_esi.recordings.learned import LearnedInverse
from learnmm_esi.recordings.mne_options import refuse_options
from learnmm_esi.recordings.preparation import why_no_epochs
from learnmm_esi.recordings.prepared import PreparedRecording, Recording, SeenModel
from learnmm_esi.recordings.raw_parts import good_parts, sample_number, sample_range

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
    weight : float, default 1.0
        Of smoothness against fit (see `SourceEnergy`).
    diffusion : float, default 10.0
        How far smoothness reaches, in neighbours squared.
    max_iter : int, optional
        Limit on steps. Default: 60, or what the weights were trained for.
    weights : str or path, optional
        Reconstruct with a trained method: the name of weights that come with the library, such
        as ``"mm-net-erp"``, or a file. They serve the head model, all channels and the sampling
        rate they were trained for; `weight` and `diffusion` then play no role.
    transfer : bool, default False
        Use the weights on another head model with the same sources and channels than they were
        trained for. Steps are verified as anywhere; how good the estimates are, only an evaluation
        tells.
    noise_cov : mne.Covariance or path, optional
        Whitens recordings and lead field. Its scale plays no role, so neither does the number of
        averages. Default: the same white noise on all channels.
    on_missing : {"raise", "warn", "ignore"}, default "raise"
        What to do about good EEG channels that the head model does not have.

    Raises
    ------
    TypeError
        If `model` is none of the above, or an option of MNE-Python is none here: the message says
        why.
    ValueError
        If the sources do not lie on two surfaces or are too many, or a setting is not possible.

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
        model: HeadModel | mne.Forward | str | os.PathLike,
        *,
        weight: float = 1.0,
        diffusion: float = 10.0,
        max_iter: int | None = None,
        weights: str | os.PathLike | None = None,
        transfer: bool = False,
        noise_cov: mne.Covariance | str | os.PathLike | None = None,
        on_missing: OnMissing = "raise",
        **options: Any,
    ) -> None:
        refuse_options("MMInverse", options)
        if transfer and weights is None:
            raise ValueError("transfer=True says how to use weights, and there are none")
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
        if weights is None:
            check_size(len(model.positions))
        if isinstance(noise_cov, (str, os.PathLike)):
            noise_cov = read_covariance(noise_cov)
        if noise_cov is not None and not isinstance(noise_cov, mne.Covariance):
            raise TypeError(
                "noise_cov must be an mne.Covariance or the path of one, got "
                f"{type(noise_cov).__name__}"
            )
        self.model = model
        self.noise_cov = noise_cov
        self.on_missing = on_missing
        self._settings = {"weight": weight, "diffusion": diffusion}
        self.learned = None if weights is None else LearnedInverse(weights, model, transfer)
        self.max_iter = max_iter
        self._prepared: tuple[bytes, SourceEnergy] | None = None

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings.items())
        if self.learned is not None:
            settings = f"weights={self.learned.path.name!r}"
        sensors, sources = self.model.leadfield.shape
        return f"MMInverse({sensors} sensors, {sources} sources, {settings})"

    @property
    def subject(self) -> str | None:
        """FreeSurfer subject of the estimates, if known."""
        if self.model.template is None:
            return "fsaverage"
        return self.model.template["src"][0].get("subject_his_id")

    def apply(
        self,
        inst: Recording,
        *,
        start: int | None = None,
        stop: int | None = None,
        buffer_size: int | None = None,
        reject_by_annotation: bool = True,
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
        start, stop : int, optional
            First sample, and first sample not to use, of a Raw.
        buffer_size : int, optional
            Samples of a Raw to reconstruct at once; its parts are recordings of their own, of
            nearly equal length, none longer than this. Default: one second, or as long as the
            recordings that weights were trained on.
        reject_by_annotation : bool, default True
            Leave out samples of a Raw that annotations call bad, as MNE-Python does; their
            estimates are NaN.
        return_generator : bool, default False
            For Epochs: compute each when it is asked for.
        return_result : bool, default False
            Also return what the optimizer did.
        verbose : bool, str, int or None
            MNE-Python's logging level.

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
            If `inst` is no recording, `start` or `stop` no integer, or an option of MNE-Python is
            none here: the message says why.
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
        if isinstance(inst, mne.BaseEpochs):
            if start is not None or stop is not None or buffer_size is not None:
                raise ValueError("start, stop and buffer_size are for Raw; crop Epochs instead")
            # On a copy, because asking for the good epochs of a file not loaded drops others.
            epochs = inst if inst.preload else inst.copy().drop_bad(verbose="ERROR")
            if len(epochs) == 0:
                warnings.warn(why_no_epochs(epochs), RuntimeWarning, stacklevel=2)
            self._check_length(len(epochs.times))
            pairs = self._epochs(epochs, self._prepare(inst, verbose))
            items = pairs if return_result else (stc for stc, _ in pairs)
            return items if return_generator else list(items)
        if return_generator:
            raise ValueError("return_generator is for Epochs: other recordings give one estimate")
        if isinstance(inst, mne.io.BaseRaw):
            span = (start, stop, buffer_size, reject_by_annotation)
            stc, fits = self._raw(self._prepare(inst, verbose), *span)
            return (stc, fits) if return_result else stc
        if isinstance(inst, mne.Evoked):
            if start is not None or stop is not None or buffer_size is not None:
                raise ValueError("start, stop and buffer_size are for Raw; crop the Evoked instead")
            source = self._prepare(inst, verbose)
            self._check_length(len(inst.times))
            what = f"evoked {inst.comment!r}" if inst.comment else "the evoked"
            estimate, fits = source.solve([inst.data[source.eeg]], [what])
            source.warn()
            stc = self._estimate(estimate[0], inst.times[0], inst.info["sfreq"])
            return (stc, fits[0]) if return_result else stc
        raise TypeError(
            f"expected an mne.Evoked, Epochs or Raw, got {type(inst).__name__}; for arrays use "
            "SourceEnergy(model).reconstruct(data)"
        )

    def _prepare(self, inst: Recording, verbose: bool | str | int | None) -> PreparedRecording:
        return PreparedRecording(
            inst,
            self.model,
            self.noise_cov,
            self.on_missing,
            self._solver,
            self.max_iter,
            verbose,
        )

    def _epochs(
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

    def _raw(
        self,
        source: PreparedRecording,
        start: int | None,
        stop: int | None,
        buffer_size: int | None,
        reject_by_annotation: bool,
    ) -> tuple[mne.SourceEstimate, list[MMFit]]:
        raw = source.inst
        first, last = sample_range(raw, start, stop)
        sfreq = raw.info["sfreq"]
        if buffer_size is not None:
            size = sample_number("buffer_size", buffer_size)
        elif self.learned is not None:
            size = self.learned.times
        else:
            size = max(1, round(sfreq))
        if size < 1:
            raise ValueError(f"buffer_size must be at least 1 sample, got {buffer_size}")
        parts = good_parts(raw, first, last, size, reject_by_annotation)
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

    def _check_length(self, times: int) -> None:
        if self.learned is not None:
            self.learned.check_length(times)

    def _estimate(
        self, sources: NDArray[np.float32], tmin: float, sfreq: float
    ) -> mne.SourceEstimate:
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
            self._prepared = key, SourceEnergy(seen, **self._settings)
        return self._prepared[1]


def apply_mm(
    inst: Recording,
    model: HeadModel | mne.Forward | str | os.PathLike,
    *,
    weight: float = 1.0,
    diffusion: float = 10.0,
    max_iter: int | None = None,
    weights: str | os.PathLike | None = None,
    transfer: bool = False,
    noise_cov: mne.Covariance | str | os.PathLike | None = None,
    on_missing: OnMissing = "raise",
    start: int | None = None,
    stop: int | None = None,
    buffer_size: int | None = None,
    reject_by_annotation: bool = True,
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
    weight, diffusion, max_iter, weights, transfer, noise_cov, on_missing
        See `MMInverse`.
    start, stop, buffer_size, reject_by_annotation, return_generator, return_result, verbose
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
    >>> stc = apply_mm(evoked, fsaverage_head_model())  # doctest: +SKIP
    """
    refuse_options("apply_mm", options)
    inverse = MMInverse(
        model,
        weight=weight,
        diffusion=diffusion,
        max_iter=max_iter,
        weights=weights,
        transfer=transfer,
        noise_cov=noise_cov,
        on_missing=on_missing,
    )
    return inverse.apply(
        inst,
        start=start,
        stop=stop,
        buffer_size=buffer_size,
        reject_by_annotation=reject_by_annotation,
        return_generator=return_generator,
        return_result=return_result,
        verbose=verbose,
    )
