"""Evoked responses from a file, and their reconstructions to files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import mne

from .apply import MMInverse
from .estimates import expand_estimate
from .fit import MMFit
from .outputs import whole_files
from .overview import plot_reconstruction
from .text import drawable

__all__ = ["read_conditions", "reconstruct_to_files"]


def read_conditions(
    file: Path,
    conditions: Sequence[str] | None = None,
    *,
    bads: Sequence[str] = (),
    average_reference: bool = False,
    tmin: float | None = None,
    tmax: float | None = None,
) -> list[mne.Evoked]:
    """Read evoked responses and prepare them.

    Parameters
    ----------
    file : Path
        ``-ave.fif``.
    conditions : sequence of str, optional
        Names or numbers from zero. Default: all.
    bads : sequence of str
        Channels to mark as bad besides those of the file.
    average_reference : bool
        Add a projector for it.
    tmin, tmax : float, optional
        What to keep, in seconds.

    Returns
    -------
    list of mne.Evoked

    Raises
    ------
    ValueError
        If there is no such condition or channel, or the file holds no evoked responses.
    """
    try:
        evokeds = mne.read_evokeds(file, proj=False, verbose="ERROR")
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # of a file that is no FIF file, MNE's reader may say anything
        reason = f" ({error})" if str(error) else ""
        raise ValueError(
            f"{file.name} holds no evoked responses{reason}; average epochs and save them as "
            "name-ave.fif"
        ) from error
    if conditions:
        names = [evoked.comment for evoked in evokeds]
        evokeds = [evokeds[_position(wanted, names, file)] for wanted in conditions]
    for evoked in evokeds:
        unknown = [name for name in bads if name not in evoked.ch_names]
        if unknown:
            raise ValueError(f"{file.name} has no channel named {', '.join(unknown)}")
        evoked.info["bads"] = sorted({*evoked.info["bads"], *bads})
        if average_reference:
            evoked.set_eeg_reference(projection=True, verbose="ERROR")
        evoked.crop(*_span(evoked, tmin, tmax), verbose="ERROR")
    return evokeds


def reconstruct_to_files(
    inverse: MMInverse,
    evokeds: Sequence[mne.Evoked],
    folder: Path,
    stem: str,
    *,
    expand: bool = False,
    picture: bool = True,
) -> Iterator[tuple[mne.Evoked, MMFit, list[Path]]]:
    """Reconstruct evoked responses one by one and write each: ``stem-condition-mm-lh.stc``, ....

    Parameters
    ----------
    inverse : MMInverse
        What to reconstruct with.
    evokeds : sequence of mne.Evoked
    folder : Path
        Made if needed.
    stem : str
        Begin of the files' names.
    expand : bool
        Write estimates on all vertices of fsaverage5.
    picture : bool
        Draw ``stem-condition-mm.png`` as well.

    Yields
    ------
    evoked : mne.Evoked
    fit : MMFit
    paths : list of Path
        What was written.
    """
    names = [_file_name(stem, evoked.comment) for evoked in evokeds]
    for k, (evoked, name) in enumerate(zip(evokeds, names, strict=True)):
        # Conditions may share a name; then their place in the file tells them apart.
        base = f"{name}-mm" if names.count(name) == 1 else f"{name}-{k}-mm"
        stc, fit = inverse.apply(evoked, return_result=True, verbose="ERROR")
        saved = expand_estimate(stc, inverse.model) if expand else stc
        paths = [folder / f"{base}-{side}.stc" for side in ("lh", "rh")]
        with whole_files(folder) as temporary:
            saved.save(temporary / base, overwrite=True, verbose="ERROR")
            if picture:
                title = f"{stem}: {evoked.comment}" if evoked.comment else stem
                figure = plot_reconstruction(stc, evoked, inverse.model, title=drawable(title))
                paths.append(folder / f"{base}.png")
                figure.savefig(temporary / paths[-1].name, dpi=150)
                plt.close(figure)
        yield evoked, fit, paths


def _span(
    evoked: mne.Evoked, tmin: float | None, tmax: float | None
) -> tuple[float | None, float | None]:
    """Limits of the time of interest within the recording; wider ones are warned of."""
    begin, end = evoked.times[[0, -1]]
    low, high = begin if tmin is None else tmin, end if tmax is None else tmax
    if not (low <= high and low <= end and high >= begin):
        raise ValueError(
            f"tmin must not be after tmax, nor both outside of the recording's {begin:g} to "
            f"{end:g} s, got {low:g} to {high:g} s"
        )
    if low < begin or high > end:
        warnings.warn(
            f"the recording has {begin:g} to {end:g} s only, of {low:g} to {high:g} s", stacklevel=2
        )
    return max(low, begin), min(high, end)


def _position(wanted: str, names: Sequence[str], file: Path) -> int:
    if wanted in names:
        if names.count(wanted) > 1:
            places = ", ".join(str(k) for k, name in enumerate(names) if name == wanted)
            raise ValueError(f"{file.name} has several conditions {wanted!r}: use one of {places}")
        return list(names).index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    known = ", ".join(f"{k} {name!r}" for k, name in enumerate(names))
    raise ValueError(f"{file.name} has no condition {wanted!r}; it has {known}")


def _file_name(stem: str, comment: str | None) -> str:
    plain = re.sub(r"[^\w.]+", "-", comment or "").strip("-.")
    return f"{stem}-{plain}" if plain else stem
