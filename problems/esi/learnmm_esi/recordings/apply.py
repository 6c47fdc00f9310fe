"""Reconstruct MNE-Python recordings: Evoked, Epochs and Raw in, SourceEstimate out."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict, Unpack

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.head.from_file import read_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.recordings.batches import batches_of_epochs, parts_of_raw
from learnmm_esi.recordings.engine import Engine
from learnmm_esi.recordings.learned import model_for_weights
from learnmm_esi.recordings.mne_options import refuse_options
from learnmm_esi.recordings.parallel import mapped
from learnmm_esi.recordings.plausibility import warn_about_misfit
from learnmm_esi.recordings.preparation import why_no_epochs
from learnmm_esi.recordings.prepared import Recording, Solved
from learnmm_esi.recordings.raw_parts import RawSpan, good_parts
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings, given
from learnmm_esi.recordings.uncertainty import uncertainty

__all__ = ["MMInverse", "apply_mm"]


class ApplyOptions(TypedDict, total=False):
    """Options of `MMInverse.apply`, which `apply_mm` hands on."""

    span: RawSpan | None
    n_jobs: int | None
    return_generator: bool
    return_result: bool
    verbose: bool | str | int | None


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
        weights. Those that were trained on fsaverage see a forward solution through the
        registration of its subject (see `template_regions`); estimates lie on its sources again.
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
        solved, self._shares = self.model, None
        if self.settings.weights is not None:
            solved, self._shares = model_for_weights(self.model, self.settings.weights)
        self._engine = Engine(solved, self.settings, self.sensors)

    def __repr__(self) -> str:
        solving = f"weight={self.settings.weight!r}, diffusion={self.settings.diffusion!r}"
        if self._engine.learned is not None:
            solving = f"weights={self._engine.learned.path.name!r}"
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
        inst: Recording | Iterable[mne.Evoked],
        *,
        span: RawSpan | None = None,
        n_jobs: int | None = None,
        return_generator: bool = False,
        return_result: bool = False,
        verbose: bool | str | int | None = None,
        **options: Any,
    ) -> Any:
        """Estimate the sources of a recording, which is not modified, or of several.

        Parameters
        ----------
        inst : Evoked, Epochs, Raw or iterable of Evoked
            In V, with an average reference or a projector for it.
        span : RawSpan, optional
            Of a Raw: which samples, and how many at once. Default: all.
        n_jobs : int, optional
            In how many processes several Evoked, Epochs or the parts of a Raw are solved; -1 for
            one on each core. Default: in this one, or as `joblib.parallel_config` says, whose
            backend "dask" reaches other machines.
        return_generator : bool, default False
            For Epochs and several Evoked: compute each when it is asked for, with `n_jobs` a few
            ahead.
        return_result : bool, default False
            Also return what the optimizer did.
        verbose : bool, str, int or None
            MNE-Python's logging level.
        **options
            Of MNE-Python's inverses: refused, with what serves instead.

        Returns
        -------
        stc : mne.SourceEstimate, or list or generator of them for Epochs and several Evoked
            Dipole moments in A m, float32; those of a source of `fsaverage_head_model` are the
            moment of every vertex of its region (see `HeadModel`).
        fit : MMFit, or list of them for Raw
            With ``return_result=True``; Epochs and several Evoked then give pairs ``(stc, fit)``.

        Raises
        ------
        TypeError
            If `inst` is no recording, or an option of MNE-Python is none here: the message says
            why.
        ValueError
            If channels are unknown or too few, names and positions of the electrodes disagree, the
            reference is missing (`MissingReferenceError`), or data are not finite, zero, or
            evidently not in V. Of several Evoked, the message says which.

        Warns
        -----
        RuntimeWarning
            If an estimate explains little of its recording, electrodes lie elsewhere than their
            names say, the recording is of another length than weights were trained on, or all
            epochs were rejected.
        """
        refuse_options("apply", options)
        if span is not None and not isinstance(inst, mne.io.BaseRaw):
            what = "Epochs" if isinstance(inst, mne.BaseEpochs) else "the Evoked"
            raise ValueError(f"span is for Raw; crop {what} instead")
        if isinstance(inst, mne.io.BaseRaw | mne.Evoked):
            if return_generator:
                raise ValueError(
                    "return_generator is for Epochs and several Evoked: this gives one estimate"
                )
            stc, fit = (
                self._apply_evoked(inst, verbose)
                if isinstance(inst, mne.Evoked)
                else self._apply_raw(inst, given("span", RawSpan, span), n_jobs, verbose)
            )
            return (stc, fit) if return_result else stc
        if isinstance(inst, mne.BaseEpochs):
            pairs = self._apply_epochs(inst, n_jobs, verbose)
        elif isinstance(inst, Iterable) and not isinstance(inst, np.ndarray | str):
            pairs = self._apply_several(inst, n_jobs, verbose)
        else:
            raise TypeError(
                "expected an mne.Evoked, Epochs or Raw, or several Evoked, got "
                f"{type(inst).__name__}; for arrays use SourceEnergy(model).reconstruct(data)"
            )
        items = pairs if return_result else (stc for stc, _ in pairs)
        return items if return_generator else list(items)

    uncertainty = uncertainty

    def _apply_evoked(
        self, evoked: mne.Evoked, verbose: bool | str | int | None
    ) -> tuple[mne.SourceEstimate, MMFit]:
        sources, fit = self._engine.solve_evoked(evoked, verbose)
        return self._estimate(sources, evoked.times[0], evoked.info["sfreq"], [fit]), fit

    def _apply_several(
        self, several: Iterable[mne.Evoked], n_jobs: int | None, verbose: bool | str | int | None
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        """Estimates of evoked responses, which are asked for one by one."""
        axes: deque[tuple[float, float]] = deque()  # of those that are under way

        def calls() -> Iterator[tuple[Any, ...]]:
            for place, one in enumerate(several):
                if not isinstance(one, mne.Evoked):
                    raise TypeError(
                        f"several recordings must be mne.Evoked, recording {place} is "
                        f"{type(one).__name__}"
                    )
                axes.append((one.times[0], one.info["sfreq"]))
                yield place, one, verbose

        solved = mapped(self._engine.solve_listed, calls(), n_jobs)
        return ((self._estimate(sources, *axes.popleft(), [fit]), fit) for sources, fit in solved)

    def _apply_epochs(
        self, inst: mne.BaseEpochs, n_jobs: int | None, verbose: bool | str | int | None
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        """Check Epochs now; their estimates are made when they are asked for."""
        # On a copy, because asking for the good epochs of a file not loaded drops others.
        epochs = inst if inst.preload else inst.copy().drop_bad(verbose="ERROR")
        if len(epochs) == 0:
            warnings.warn(why_no_epochs(epochs), RuntimeWarning, stacklevel=3)
        self._engine.check_length(len(epochs.times))
        prepared = self._engine.prepare(inst.info, verbose)
        batches = batches_of_epochs(epochs, prepared.eeg, self._engine.sources, verbose)
        solved = mapped(prepared.solve, batches, n_jobs)
        return self._estimates(solved, epochs.times[0], epochs.info["sfreq"])

    def _estimates(
        self, batches: Iterator[Solved], tmin: float, sfreq: float
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        for batch in batches:
            warn_about_misfit(batch.told)
            for sources, fit in zip(batch.sources, batch.fits, strict=True):
                yield self._estimate(sources, tmin, sfreq, [fit]), fit

    def _apply_raw(
        self,
        raw: mne.io.BaseRaw,
        span: RawSpan,
        n_jobs: int | None,
        verbose: bool | str | int | None,
    ) -> tuple[mne.SourceEstimate, list[MMFit]]:
        prepared = self._engine.prepare(raw.info, verbose)
        first, last = span.limits(raw)
        sfreq, learned = raw.info["sfreq"], self._engine.learned
        size = span.buffer_size
        if size is None:
            if learned is not None and not learned.any:
                size = learned.times
            else:
                size = max(1, round(sfreq))
        parts = good_parts(raw, first, last, size, span.reject_by_annotation)
        lengths = {end - begin for begin, end in parts}
        for times in sorted({min(lengths), max(lengths)}):
            self._engine.check_length(times)
        sources = np.full((self._engine.sources, last - first), np.nan, dtype=np.float32)
        fits, told = [], []
        solved = mapped(prepared.solve, parts_of_raw(raw, prepared.eeg, parts), n_jobs)
        for (begin, end), one in zip(parts, solved, strict=True):
            sources[:, begin - first : end - first] = one.sources[0]
            fits += one.fits
            told += one.told
        warn_about_misfit(told)
        return self._estimate(sources, raw.times[first], sfreq, fits), fits

    def _estimate(
        self, sources: NDArray[np.float32], tmin: float, sfreq: float, fits: list[MMFit]
    ) -> mne.SourceEstimate:
        if self._shares is not None:  # of the subject's own sources in the template's regions
            own = self._shares.T @ sources
            own[:, np.isnan(sources).all(axis=0)] = np.nan  # samples called bad
            sources = own.astype(sources.dtype)
        assert self.model.vertices is not None  # `_head_model` has seen to it
        vertices = [np.array(v) for v in self.model.vertices]
        estimate = mne.SourceEstimate(sources, vertices, tmin, 1.0 / sfreq, subject=self.subject)
        # Of MNE-Python's estimates none has a comment; it goes along with copies.
        starts = sorted({fit.start for fit in fits})
        estimate.comment = f"learnmm, {' and '.join(starts)} start"
        return estimate


def apply_mm(
    inst: Recording | Iterable[mne.Evoked],
    model: HeadModel | mne.Forward | str | os.PathLike[str],
    settings: InverseSettings | None = None,
    *,
    sensors: SensorSettings | None = None,
    **options: Unpack[ApplyOptions],
) -> Any:
    """Estimate the sources of recordings: ``MMInverse(model, ...).apply(inst, ...)``.

    Parameters
    ----------
    inst : Evoked, Epochs, Raw or iterable of Evoked
        In V, with an average reference or a projector for it. Not modified.
    model : HeadModel, mne.Forward or path
        Head model, or a forward solution with surface source spaces.
    settings : InverseSettings, optional
        How to solve.
    sensors : SensorSettings, optional
        What to do about channels.
    **options
        ``span``, ``n_jobs``, ``return_generator``, ``return_result`` and ``verbose``: see
        `MMInverse.apply`.

    Returns
    -------
    stc : mne.SourceEstimate, or list or generator of them for Epochs and several Evoked
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
    refuse_options(
        "apply_mm", [name for name in options if name not in ApplyOptions.__annotations__]
    )
    return MMInverse(model, settings, sensors=sensors).apply(inst, **options)


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
