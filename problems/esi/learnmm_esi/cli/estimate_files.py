"""Reconstructions of recordings to files: estimates, and a picture of each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import mne

from learnmm.storage import replacing
from learnmm_esi.cli.text import drawable
from learnmm_esi.head.cortex import N_VERTICES
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.plots.overview import plot_reconstruction
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.estimates import expand_estimate
from learnmm_esi.recordings.prepared import Recording

__all__ = ["count_estimates", "reconstruct_to_files"]

LARGEST = 2**25  # values of an estimate of a Raw: 128 MiB, a minute at 512 Hz on the template head


def count_estimates(recordings: Sequence[Recording]) -> int:
    """Return how many estimates `reconstruct_to_files` makes: each epoch has one of its own."""
    return sum(len(one) if isinstance(one, mne.BaseEpochs) else 1 for one in recordings)


def reconstruct_to_files(
    inverse: MMInverse,
    recordings: Sequence[Recording],
    folder: Path,
    stem: str,
    *,
    expand: bool = False,
    picture: bool = True,
) -> Iterator[tuple[str, str, list[Path]]]:
    """Reconstruct recordings one by one and write each: ``stem-condition-mm-lh.stc``, ....

    Parameters
    ----------
    inverse : MMInverse
        What to reconstruct with.
    recordings : sequence of Evoked, Epochs or Raw
    folder : Path
        Made if needed.
    stem : str
        Begin of the files' names.
    expand : bool
        Write estimates on all vertices of fsaverage5.
    picture : bool
        Draw ``stem-condition-mm.png`` as well, but for single epochs.

    Yields
    ------
    name : str
        Of the condition or epoch; empty if it has none.
    fit : str
        What the optimizer did.
    paths : list of Path
        What was written.

    Raises
    ------
    ValueError
        If a Raw is so long that its estimate would have more than `LARGEST` values.
    """
    for raw in (one for one in recordings if isinstance(one, mne.io.BaseRaw)):
        sources = len(inverse.model_for(raw.info).positions)
        _check_duration(raw, 2 * N_VERTICES if expand else sources)
    for info, name, base, stc, fit, evoked in _estimates(inverse, recordings, stem):
        model = inverse.model_for(info)
        saved = expand_estimate(stc, model) if expand else stc
        paths = [folder / f"{base}-{side}.stc" for side in ("lh", "rh")]
        with replacing(paths[0]) as first:
            saved.save(first.with_name(base), overwrite=True, verbose="ERROR")
            if picture and evoked is not None:
                title = drawable(f"{stem}: {name}" if name else stem)
                figure = plot_reconstruction(stc, evoked, model, title=title)
                paths.append(folder / f"{base}.png")
                figure.savefig(first.with_name(paths[-1].name), dpi=150)
                plt.close(figure)
        yield name, fit, paths


def _estimates(
    inverse: MMInverse, recordings: Sequence[Recording], stem: str
) -> Iterator[tuple[mne.Info, str, str, mne.SourceEstimate, str, mne.Evoked | None]]:
    """Channels, name, begin of files' names, estimate, fit, and what a picture shows beside it."""
    names = [_file_name(stem, getattr(one, "comment", None)) for one in recordings]
    taken = set(names)
    for k, (one, name) in enumerate(zip(recordings, names, strict=True)):
        if isinstance(one, mne.BaseEpochs):
            pairs = inverse.apply(one, return_generator=True, return_result=True, verbose="ERROR")
            digits = len(str(max(one.selection)))
            for number, (stc, fit) in zip(one.selection, pairs, strict=True):
                base = f"{stem}-epoch-{number:0{digits}d}-mm"
                yield one.info, f"epoch {number}", base, stc, str(fit), None
            continue
        # Conditions may share a name; then their place in the file tells them apart.
        base = name
        if names.count(name) > 1:
            base = next(b for b in (f"{name}-{n}" for n in itertools.count(k)) if b not in taken)
            taken.add(base)
        base = f"{base}-mm"
        stc, fit = inverse.apply(one, return_result=True, verbose="ERROR")
        if isinstance(one, mne.io.BaseRaw):
            shown = mne.EvokedArray(one.get_data(verbose="ERROR"), one.info, one.times[0])
            yield one.info, "", base, stc, _of_parts(fit), shown
        else:
            yield one.info, one.comment or "", base, stc, str(fit), one


def _of_parts(fits: Sequence[MMFit]) -> str:
    if len(fits) == 1:
        return str(fits[0])
    explained = [100 * fit.explained for fit in fits]
    monotone = sum(fit.monotone for fit in fits)
    kinds = sorted({fit.kind.name for fit in fits if fit.kind is not None})
    return (
        f"{len(fits)} parts, {min(explained):.1f} to {max(explained):.1f} % of each explained; "
        f"{', '.join(kinds) or 'no'} bound, {monotone} of {len(fits)} monotone"
    )


def _check_duration(raw: mne.io.BaseRaw, sources: int) -> None:
    if raw.n_times * sources > LARGEST:
        seconds, most = raw.n_times / raw.info["sfreq"], LARGEST / sources / raw.info["sfreq"]
        raise ValueError(
            f"the raw recording has {seconds:.4g} s, whose estimate would have {raw.n_times} x "
            f"{sources} values; say which {most:.3g} s or less with tmin and tmax, or cut epochs"
        )


def _file_name(stem: str, comment: str | None) -> str:
    plain = re.sub(r"[^\w.]+", "-", comment or "").strip("-.")
    return f"{stem}-{plain}" if plain else stem
