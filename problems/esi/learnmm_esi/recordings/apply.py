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
from scipy.sparse import csr_matrix

from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.recordings.batches import batches_of_epochs, parts_of_raw
from learnmm_esi.recordings.engine import Engine, imaged_model, naming
from learnmm_esi.recordings.learned import best_settings, find_weights, model_for_weights
from learnmm_esi.recordings.mne_options import refuse_options
from learnmm_esi.recordings.own_heads import OwnHeads
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
    """Source imaging by majorize-minimize steps.

    Preparing takes seconds (a singular value decomposition and a matrix exponential), so keep the
    object where several recordings share a head model: what is prepared is used again as long as
    the good channels and the projectors stay the same.

    Parameters
    ----------
    model : HeadModel, mne.Forward, path or HeadModelSettings, optional
        Default: the template's head with the electrodes that a recording has (see
        `head_model_for`); of other settings, if such are given. Or a model from
        `fsaverage_head_model` or `head_model_from_forward`; or a forward solution, or its
        ``-fwd.fif`` file, with surface source spaces. At most 10 000 sources, unless there are
        weights. Those that were trained on fsaverage see a forward solution through the
        registration of its subject (see `template_regions`); estimates lie on its sources again.
    settings : InverseSettings, optional
        How to solve. Default: without learning; on the template with a recording's own electrodes,
        guided by the weights "mm-net", if they are shipped.
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
    will do, and any filter, as the spectrum of the noise is estimated too. It does see a baseline,
    so correct it or filter beforehand. Cropping to the time of interest makes the estimate one of
    that time.

    Examples
    --------
    >>> inverse = MMInverse(fsaverage_head_model())          # doctest: +SKIP
    >>> evoked.set_eeg_reference(projection=True)            # doctest: +SKIP
    >>> stc = inverse.apply(evoked)                          # doctest: +SKIP
    >>> stc, fit = inverse.apply(evoked, return_result=True) # doctest: +SKIP
    """

    def __init__(
        self,
        model: HeadModel | mne.Forward | str | os.PathLike[str] | HeadModelSettings | None = None,
        settings: InverseSettings | None = None,
        *,
        sensors: SensorSettings | None = None,
        **options: Any,
    ) -> None:
        refuse_options("MMInverse", options)
        self.sensors = given("sensors", SensorSettings, sensors)
        self.model: HeadModel | None = None
        self._shares: csr_matrix | None = None
        self._engine: Engine | OwnHeads
        if model is None or isinstance(model, HeadModelSettings):
            settings = best_settings(model) if settings is None else settings
            self.settings = given("settings", InverseSettings, settings)
            self._engine = OwnHeads(model, self.settings, self.sensors)
            return
        self.settings = given("settings", InverseSettings, settings)
        self.model = solved = imaged_model(model)
        if self.settings.weights is not None:
            solved, self._shares = model_for_weights(self.model, self.settings.weights)
        self._engine = Engine(solved, self.settings, self.sensors)

    def __repr__(self) -> str:
        solving = f"weight={self.settings.weight!r}, diffusion={self.settings.diffusion!r}"
        if self.settings.weights is not None:
            solving = f"weights={find_weights(self.settings.weights).name!r}"
            solving += ", guided" if self.settings.guided else ""
        if self.model is None:
            return f"MMInverse({self._engine}, {solving})"
        sensors, sources = self.model.leadfield.shape
        return f"MMInverse({sensors} sensors, {sources} sources, {solving})"

    @property
    def subject(self) -> str | None:
        """FreeSurfer subject of the estimates, if known."""
        if self.model is None or not isinstance(self.model.origin, mne.Forward):
            return "fsaverage"
        subject: str | None = self.model.origin["src"][0].get("subject_his_id")
        return subject

    def model_for(self, info: mne.Info) -> HeadModel:
        """Return the head model that serves a recording.

        Parameters
        ----------
        info : mne.Info
            Of the recording.
        """
        return self._engine.of(info).model if self.model is None else self.model

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
                f"{type(inst).__name__}; for arrays use EvidenceEnergy(model).reconstruct(data)"
            )
        items = pairs if return_result else (stc for stc, _ in pairs)
        return items if return_generator else list(items)

    uncertainty = uncertainty

    def _apply_evoked(
        self, evoked: mne.Evoked, verbose: bool | str | int | None
    ) -> tuple[mne.SourceEstimate, MMFit]:
        engine = self._engine.of(evoked.info, verbose)
        sources, fit = engine.solve_evoked(evoked, verbose)
        axes = evoked.times[0], evoked.info["sfreq"]
        return self._estimate(sources, [fit], engine, *axes), fit

    def _apply_several(
        self, several: Iterable[mne.Evoked], n_jobs: int | None, verbose: bool | str | int | None
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        """Estimates of evoked responses, which are asked for one by one."""
        under_way: deque[tuple[Engine, float, float]] = deque()

        def calls() -> Iterator[tuple[Any, ...]]:
            for place, one in enumerate(several):
                if not isinstance(one, mne.Evoked):
                    raise TypeError(
                        f"several recordings must be mne.Evoked, recording {place} is "
                        f"{type(one).__name__}"
                    )
                with naming(place, one):
                    engine = self._engine.of(one.info, verbose)
                under_way.append((engine, one.times[0], one.info["sfreq"]))
                yield place, one, verbose

        solved = mapped(self._engine.solve_listed, calls(), n_jobs)
        return (
            (self._estimate(sources, [fit], *under_way.popleft()), fit) for sources, fit in solved
        )

    def _apply_epochs(
        self, inst: mne.BaseEpochs, n_jobs: int | None, verbose: bool | str | int | None
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        """Check Epochs now; their estimates are made when they are asked for."""
        # On a copy, because asking for the good epochs of a file not loaded drops others.
        epochs = inst if inst.preload else inst.copy().drop_bad(verbose="ERROR")
        if len(epochs) == 0:
            warnings.warn(why_no_epochs(epochs), RuntimeWarning, stacklevel=3)
        engine = self._engine.of(inst.info, verbose)
        engine.check_length(len(epochs.times))
        prepared = engine.prepare(inst.info, verbose)
        batches = batches_of_epochs(epochs, prepared.eeg, engine.sources, verbose)
        solved = mapped(prepared.solve, batches, n_jobs)
        return self._estimates(engine, solved, epochs.times[0], epochs.info["sfreq"])

    def _estimates(
        self, engine: Engine, batches: Iterator[Solved], tmin: float, sfreq: float
    ) -> Iterator[tuple[mne.SourceEstimate, MMFit]]:
        for batch in batches:
            warn_about_misfit(batch.told)
            for sources, fit in zip(batch.sources, batch.fits, strict=True):
                yield self._estimate(sources, [fit], engine, tmin, sfreq), fit

    def _apply_raw(
        self,
        raw: mne.io.BaseRaw,
        span: RawSpan,
        n_jobs: int | None,
        verbose: bool | str | int | None,
    ) -> tuple[mne.SourceEstimate, list[MMFit]]:
        engine = self._engine.of(raw.info, verbose)
        prepared = engine.prepare(raw.info, verbose)
        first, last = span.limits(raw)
        size = span.buffer_size
        if size is None:
            learned = engine.learned
            if learned is not None and not learned.any:
                size = learned.times
            else:
                size = max(1, round(raw.info["sfreq"]))
        parts = good_parts(raw, first, last, size, span.reject_by_annotation)
        lengths = {end - begin for begin, end in parts}
        for times in sorted({min(lengths), max(lengths)}):
            engine.check_length(times)
        sources = np.full((engine.sources, last - first), np.nan, dtype=np.float32)
        fits, told = [], []
        solved = mapped(prepared.solve, parts_of_raw(raw, prepared.eeg, parts), n_jobs)
        for (begin, end), one in zip(parts, solved, strict=True):
            sources[:, begin - first : end - first] = one.sources[0]
            fits += one.fits
            told += one.told
        warn_about_misfit(told)
        axes = raw.times[first], raw.info["sfreq"]
        return self._estimate(sources, fits, engine, *axes), fits

    def _estimate(
        self,
        sources: NDArray[np.float32],
        fits: list[MMFit],
        engine: Engine,
        tmin: float,
        sfreq: float,
    ) -> mne.SourceEstimate:
        if self._shares is not None:  # of the subject's own sources in the template's regions
            own = self._shares.T @ sources
            own[:, np.isnan(sources).all(axis=0)] = np.nan  # samples called bad
            sources = own.astype(sources.dtype)
        model = engine.model if self.model is None else self.model
        assert model.vertices is not None  # `imaged_model` has seen to it
        vertices = [np.array(v) for v in model.vertices]
        estimate = mne.SourceEstimate(sources, vertices, tmin, 1.0 / sfreq, subject=self.subject)
        # Of MNE-Python's estimates none has a comment; it goes along with copies.
        starts = sorted({fit.start for fit in fits})
        estimate.comment = f"learnmm, {' and '.join(starts)} start"
        return estimate


def apply_mm(
    inst: Recording | Iterable[mne.Evoked],
    model: HeadModel | mne.Forward | str | os.PathLike[str] | HeadModelSettings | None = None,
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
    model : HeadModel, mne.Forward, path or HeadModelSettings, optional
        Head model, or a forward solution with surface source spaces. Default: the template's head
        with the electrodes that the recording has.
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
    >>> stc = apply_mm(evoked)                          # doctest: +SKIP
    >>> model = head_model_from_forward("my-fwd.fif")   # doctest: +SKIP
    >>> smoother = InverseSettings(weight=2.0)          # doctest: +SKIP
    >>> stc = apply_mm(evoked, model, smoother)         # doctest: +SKIP
    """
    refuse_options(
        "apply_mm", [name for name in options if name not in ApplyOptions.__annotations__]
    )
    return MMInverse(model, settings, sensors=sensors).apply(inst, **options)
