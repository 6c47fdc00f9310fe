"""Trials: every method with each of its settings on every run, and how far off the place is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mne
import numpy as np

from learnmm_esi.recordings.localize_mi.contacts import Site, read_site
from learnmm_esi.recordings.localize_mi.files import RunFiles
from learnmm_esi.recordings.localize_mi.heads import SubjectHead, read_head
from learnmm_esi.recordings.localize_mi.methods import METHODS, Method, SourceMap
from learnmm_esi.recordings.localize_mi.responses import Response, read_response

__all__ = ["Protocol", "Trial", "run_trials"]

HALF_WIDTHS = (0.0, 0.0005, 0.002)  # seconds about the peak; with a method's values, its settings
FARTHEST = 0.05  # metres from the nearest source; contacts in the brain are nearer in their frame
FEWEST = 16  # channels: with fewer, sources anywhere explain a recording (`match_channels`)
FEWEST_SOURCES = 20


@dataclass(frozen=True)
class Protocol:
    """What is tried; one for all runs.

    Parameters
    ----------
    channels : tuple of int, default (256, 128, 64, 32)
        How many channels; all good ones where there are fewer.
    sources : int, default 2000
        Of a head at most: larger forward solutions are thinned out.
    begin, end : float, default -0.002, 0.002
        In seconds, where the peak of the artefact is searched: the time of the largest standard
        deviation over the channels.
    noise_end : float, default -0.05
        Up to when samples are noise.
    methods : tuple of Method
        Default: `METHODS`.

    Raises
    ------
    ValueError
        If there are no channels, too few of them or of sources, a count is there twice, or times
        are not in their order.
    """

    channels: tuple[int, ...] = (256, 128, 64, 32)
    sources: int = 2000
    begin: float = -0.002
    end: float = 0.002
    noise_end: float = -0.05
    methods: tuple[Method, ...] = METHODS

    def __post_init__(self) -> None:
        counts = self.channels
        if not counts or min(counts) < FEWEST or len(set(counts)) < len(counts):
            raise ValueError(
                f"Protocol: channels must be different numbers from {FEWEST} on, got {counts}"
            )
        if self.sources < FEWEST_SOURCES:
            raise ValueError(
                f"Protocol: sources must be at least {FEWEST_SOURCES}, got {self.sources}"
            )
        if not self.noise_end < self.begin < self.end:
            raise ValueError(
                "Protocol: noise_end must come before begin, and begin before end, got "
                f"{self.noise_end}, {self.begin}, {self.end}"
            )

    def settings(self, method: Method) -> list[str]:
        """Name the settings of a method in their order."""
        return [_setting(method, value, half) for value in method.values for half in HALF_WIDTHS]


@dataclass(frozen=True)
class Trial:
    """One method with one setting on one run.

    Attributes
    ----------
    subject, run, contacts : str
    channels, used : int
        How many channels were asked for, and how many good ones there were.
    method, setting : str
    error, error_side : float
        Distance of the strongest source from the midpoint of the contacts, in mm: among all, and
        among those of the stimulated hemisphere.
    floor, floor_side : float
        That of the nearest source, which no method can go below.
    warned : bool
        Whether the method said that the estimate is not to be trusted.
    """

    subject: str
    run: str
    contacts: str
    channels: int
    used: int
    method: str
    setting: str
    error: float
    error_side: float
    floor: float
    floor_side: float
    warned: bool


def run_trials(
    runs: Sequence[RunFiles], protocol: Protocol, is_done: Callable[[RunFiles], bool]
) -> Iterator[tuple[RunFiles, list[Trial]]]:
    """Try all methods on one run after the other.

    Parameters
    ----------
    runs : sequence of RunFiles
        Sorted by subject, whose heads are read one at a time.
    protocol : Protocol
    is_done : callable
        Says which runs to pass over.

    Yields
    ------
    files : RunFiles
    trials : list of Trial

    Raises
    ------
    ValueError
        If what a run's files hold does not fit together; it names run and file.
    """
    head: SubjectHead | None = None
    path = None
    for files in runs:
        if is_done(files):
            continue
        if head is None or path != files.forward:
            head, path = read_head(files.forward, protocol.sources), files.forward
        site = read_site(files)
        _check_frame(files, head, site)
        response = read_response(files, head.model, protocol.noise_end)
        yield files, list(_trials(files, head, site, response, protocol))


def _trials(
    files: RunFiles, head: SubjectHead, site: Site, response: Response, protocol: Protocol
) -> Iterator[Trial]:
    for count in protocol.channels:
        some = response.with_channels(count)
        parts = [(half, _part(some.evoked, protocol, half, files)) for half in HALF_WIDTHS]
        for method in protocol.methods:
            estimate = method.prepare(head, some)
            for value in method.values:
                for half, part in parts:
                    found = estimate(part, value)
                    yield Trial(
                        files.subject,
                        files.run,
                        site.contacts,
                        count,
                        len(some.evoked.ch_names),
                        method.name,
                        _setting(method, value, half),
                        *_distances(found, site),
                        found.warned,
                    )


def _setting(method: Method, value: float | str, half: float) -> str:
    when = f"peak ± {1e3 * half:g} ms" if half else "peak"
    return f"{method.setting} {value if isinstance(value, str) else f'{value:g}'}, {when}"


def _part(evoked: mne.Evoked, protocol: Protocol, half: float, files: RunFiles) -> mne.Evoked:
    """Return the part of a response about its peak, within the span that is searched."""
    inside = np.flatnonzero((evoked.times >= protocol.begin) & (evoked.times <= protocol.end))
    if len(inside) == 0:
        raise ValueError(
            f"{files.epochs} must have samples from {1e3 * protocol.begin:g} to "
            f"{1e3 * protocol.end:g} ms; it has {1e3 * evoked.times[0]:g} to "
            f"{1e3 * evoked.times[-1]:g} ms"
        )
    peak = inside[evoked.data[:, inside].std(axis=0).argmax()]
    reach = round(half * evoked.info["sfreq"])
    first, last = max(peak - reach, inside[0]), min(peak + reach, inside[-1])
    return evoked.copy().crop(evoked.times[first], evoked.times[last], verbose="ERROR")


def _distances(found: SourceMap, site: Site) -> tuple[float, float, float, float]:
    """Return error and error within the hemisphere, then floor and floor within it, in mm."""
    apart = 1e3 * np.linalg.norm(found.positions - site.position, axis=1)
    side = found.left == site.left
    strongest = found.strength.argmax()
    strongest_side = np.where(side, found.strength, -1.0).argmax()
    return (
        float(apart[strongest]),
        float(apart[strongest_side]),
        float(apart.min()),
        float(apart[side].min()),
    )


def _check_frame(files: RunFiles, head: SubjectHead, site: Site) -> None:
    nearest = np.linalg.norm(head.model.positions - site.position, axis=1).min()
    if nearest > FARTHEST:
        raise ValueError(
            f"{files.name}: the midpoint of contacts {site.contacts} in {files.contacts} lies "
            f"{1e3 * nearest:.0f} mm from the nearest source of {files.forward.name}, at most "
            f"{1e3 * FARTHEST:.0f} mm are expected: coordinates have another origin or unit"
        )
