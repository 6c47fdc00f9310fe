"""How sure the place of the main source is: a second estimate beside that of an evoked response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from learnmm.progress import Progress
from learnmm_esi.inverse.noise import NoiseModes
from learnmm_esi.inverse.uncertainty import CREDIBLE, levels, main_sources, radius, resampled
from learnmm_esi.recordings.batches import BATCH_VALUES
from learnmm_esi.recordings.engine import Engine
from learnmm_esi.recordings.plausibility import warn_about_misfit
from learnmm_esi.settings import MOST_SEED, check_integer

if TYPE_CHECKING:
    from learnmm_esi.recordings.apply import MMInverse

__all__ = ["BANDWIDTHS", "DRAWS", "Redrawn", "redrawn", "uncertainty"]

DRAWS = 32
MOST_DRAWS = 10_000

BANDWIDTHS = {"unguided": 0.010, "guided": 0.012, "learned": 0.011}
"""Metres, of a solver without weights, guided by them, and of theirs: ``examples/esi/coverage.py``
calibrates them, and its results say on what.
"""

Floats = NDArray[np.float64]


def uncertainty(
    inverse: MMInverse,
    inst: mne.Evoked,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    progress: bool = False,
    verbose: bool | str | int | None = None,
) -> mne.SourceEstimate:
    """Estimate where the main source of an evoked response may lie.

    The estimate is recorded again with fresh noise, at the ratio of signal to noise that the
    recording itself tells (see `estimate_noise`), and reconstructed as the recording was, but for
    guidance: that would be the same in all draws, and they would agree too well. The places of the
    draws' largest sources, smoothed, are a density over the cortex (see `levels`).

    Parameters
    ----------
    inverse : MMInverse
        What reconstructs.
    inst : Evoked
        In V, with an average reference or a projector for it. Not modified.
    draws : int, default 32
        How often it is recorded again; each takes as long as an estimate.
    seed : int, default 0
        Of the noise. The same one gives the same levels, whatever else draws random numbers.
    progress : bool, default False
        Show a progress bar.
    verbose : bool, str, int or None
        MNE-Python's logging level.

    Returns
    -------
    mne.SourceEstimate
        One sample, when the estimate's main source is largest: for every source the credible level
        at which it enters the region where the main source lies, in (0, 1]. The 90 % region is
        ``stc.data[:, 0] <= 0.9``. ``stc.radius`` is how far around the densest source 90 % of the
        density lies, in metres; ``stc.comment`` says it, and how far the density was smoothed.

    Raises
    ------
    TypeError
        If `inst` is no Evoked.
    ValueError
        If draws or seed are none, or the recording is refused as by `MMInverse.apply`.

    Notes
    -----
    The noise is taken to be white once the recording is projected and whitened, so hand over a
    noise covariance where it is not. The bandwidth of the smoothing was chosen for 90 % regions to
    cover the centre of the active patch in 90 % of simulated recordings with one patch, over caps,
    heads, noise and ratios of signal to noise. On others they do, within what 64 recordings can
    tell, but below 0 dB they hold it in 55 to 73 %;
    ``examples/esi/results/coverage.md`` has what was measured. Where several sources are active the
    region is that of the strongest.
    """
    _check(inst, draws, seed)
    engine = inverse._engine.of(inst.info, verbose)
    found = redrawn(engine, inst, draws, seed, progress=progress, verbose=verbose)
    learned = "guided" if engine.settings.guided else "learned"
    bandwidth = BANDWIDTHS["unguided" if engine.learned is None else learned]
    positions = engine.model.positions
    entered = levels(positions, found.places, bandwidth)
    if inverse._shares is not None:
        entered = _of_own(inverse._shares, entered)
    course = found.sources[main_sources(found.sources[None])[0]]
    peak = inst.times[np.abs(course).argmax()]
    model = engine.model if inverse.model is None else inverse.model
    assert model.vertices is not None  # `imaged_model` has seen to it
    vertices = [np.array(v) for v in model.vertices]
    estimate = mne.SourceEstimate(
        entered[:, None], vertices, peak, 1.0 / inst.info["sfreq"], subject=inverse.subject
    )
    estimate.radius = radius(positions, found.places, bandwidth)
    estimate.comment = (
        f"learnmm, credible levels of the main source: the {CREDIBLE:.0%} region is level <= "
        f"{CREDIBLE:g}, {CREDIBLE:.0%} lie within {1e3 * estimate.radius:.0f} mm; bandwidth "
        f"{1e3 * bandwidth:.1f} mm, {draws} draws"
    )
    return estimate


class Redrawn(NamedTuple):
    """What `redrawn` returns.

    Attributes
    ----------
    sources : ndarray, shape (sources, times)
        The estimate, A m.
    places : ndarray of int, shape (draws,)
        Main source of each draw.
    start : str
        Of the estimate, see `MMFit`.
    """

    sources: NDArray[np.float32]
    places: NDArray[np.int64]
    start: str


def redrawn(
    engine: Engine,
    inst: mne.Evoked,
    draws: int,
    seed: int,
    *,
    progress: bool = False,
    verbose: bool | str | int | None = None,
) -> Redrawn:
    """Reconstruct an evoked response, and its estimate recorded again.

    Parameters
    ----------
    engine : Engine
        What reconstructs.
    inst, draws, seed, progress, verbose
        See `uncertainty`.
    """
    prepared = engine.prepare(inst.info, verbose)
    engine.check_length(len(inst.times))
    data = inst.data[prepared.eeg]
    solved = prepared.solve([data], [f"evoked {inst.comment!r}" if inst.comment else "the evoked"])
    warn_about_misfit(solved.told)
    sources = solved.sources[0]
    recording = prepared.filter @ data[prepared.used]
    gain = prepared.filter @ engine.model.leadfield[prepared.match.rows]
    drawn = resampled(recording, gain @ sources, NoiseModes.of(gain), draws, seed)
    size = max(1, BATCH_VALUES // sources.size)  # solved at once
    places = []
    with Progress(draws, enabled=progress, title="draws") as bar:
        for first in range(0, draws, size):
            batch = drawn[first : first + size]
            places.append(main_sources(prepared.reconstruct(batch, guided=False).sources))
            bar.show(first + len(batch), "")
    return Redrawn(sources, np.concatenate(places), solved.fits[0].start)


def _check(inst: Any, draws: int, seed: int) -> None:
    if not isinstance(inst, mne.Evoked):
        why = "got " + type(inst).__name__
        if isinstance(inst, mne.BaseEpochs | mne.io.BaseRaw):
            why = (
                f"{type(inst).__name__} has other main sources from one moment to the next. "
                "Average (epochs.average()), or make an mne.EvokedArray of the part in question"
            )
        raise TypeError(f"uncertainty is that of one mne.Evoked: {why}")
    check_integer("draws", draws, 1, MOST_DRAWS)
    check_integer("seed", seed, 0, MOST_SEED)


def _of_own(shares: csr_matrix, found: Floats) -> Floats:
    """Levels of a subject's own sources: the lowest of the regions that each is part of."""
    part = shares.tocoo()
    own = np.ones(shares.shape[1])
    np.minimum.at(own, part.col, found[part.row])
    return own
