"""What filters, rates and ongoing activity do to the estimates: real noise is not white.

One patch of cortex on 64 electrodes, its moment one deflection over the recording, and noise that
MNE-Python's filter has left: mean distance of the strongest source from the middle of the patch, of
sLORETA (MNE-Python's), of the solver that learns nothing, and of that solver guided by weights.
Four fifths of the power of "brain" are slow activity of the whole cortex (1/f), the rest is white.
Hum of the mains is a sine of 50 Hz with a size of its own on every channel.

    python -m benchmarks.eeg_filtered

prints the table and writes ``benchmarks/results/eeg_filtered.md``.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import mne
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks.pages import arguments, made_by, table, write
from learnmm_esi import HeadModel, InverseSettings, MMInverse, head_model_for, mne_python_inverse
from learnmm_esi.simulation.ranges.courses import pink

SEED = 23
RIM = 0.6  # of the moment in the middle, in the regions around it
MARGIN = 400  # samples on both sides, for the filter to settle

console = Console(stderr=True)


class Case(NamedTuple):
    """How recordings are made: samples, rate in Hz, dB, the band of the noise in Hz, its kind.

    `hum`: how far below the patch's field the hum of the mains is, in dB, where there is some.
    """

    samples: int
    rate: float
    snr_db: float
    low: float | None = None
    high: float | None = None
    brain: bool = False
    hum: float | None = None

    @property
    def noise(self) -> str:
        """Kind and filter, in words."""
        if self.hum is not None:
            return f"white, hum of {-self.hum:g} dB"
        if self.low is None and self.high is None:
            return "brain" if self.brain else "white"
        kind = "brain, " if self.brain else ""
        return f"{kind}{self.low or 0:g} to {self.high or self.rate / 2:g} Hz"


CASES = (
    *(Case(samples, 500.0, 5.0) for samples in (25, 100, 250, 500, 2500)),
    *(Case(250, 500.0, 5.0, None, high) for high in (100.0, 40.0, 30.0)),
    Case(250, 500.0, 5.0, 1.0, 40.0),
    Case(250, 500.0, 5.0, 8.0, 30.0),
    *(Case(250, 500.0, snr_db, None, 30.0) for snr_db in (-5.0, 0.0, 15.0)),
    Case(500, 1000.0, 5.0, None, 30.0),
    Case(50, 250.0, 5.0, None, 40.0),
    *(Case(250, 500.0, snr_db, brain=True) for snr_db in (0.0, 5.0, 10.0)),
    *(Case(250, 500.0, snr_db, 1.0, 40.0, brain=True) for snr_db in (0.0, 10.0)),
    *(Case(250, 500.0, 10.0, hum=below) for below in (5.0, 10.0, 15.0, 20.0)),
)

BRAIN = 0.8  # of the power of such noise
MAINS = 50.0  # Hz


def recorded(model: HeadModel, case: Case, source: int, seed: int) -> NDArray[np.float64]:
    """A recording in V, average-referenced."""
    shape = RIM * model.neighbours[[source]].toarray()[0]
    shape[source] = 1.0
    y = 1e-9 * np.outer(model.leadfield @ shape, np.hanning(case.samples))
    generator, times = np.random.default_rng([SEED, seed]), case.samples + 2 * MARGIN
    noise = generator.standard_normal((len(y), times))
    if case.brain:
        brain = model.leadfield @ (model.neighbours @ pink(len(model.positions), times, generator))
        parts = (BRAIN**0.5, brain), ((1 - BRAIN) ** 0.5, noise)
        noise = sum(size * part / np.linalg.norm(part - part.mean(0)) for size, part in parts)
    if case.low is not None or case.high is not None:
        noise = mne.filter.filter_data(noise, case.rate, case.low, case.high, verbose="ERROR")
    noise = noise[:, MARGIN:-MARGIN]
    found = y + _below(y, noise, case.snr_db)
    if case.hum is not None:
        phase = generator.uniform(0, 2 * np.pi)
        sine = np.sin(2 * np.pi * MAINS * np.arange(case.samples) / case.rate + phase)
        found += _below(y, np.outer(generator.standard_normal(len(y)), sine), case.hum)
    return found


def _below(y: NDArray[np.float64], noise: NDArray[np.float64], db: float) -> NDArray[np.float64]:
    """Noise of so many decibels less than a field, average-referenced."""
    noise = noise - noise.mean(axis=0)
    size = 10 ** (-db / 20) * np.linalg.norm(y) / np.linalg.norm(noise)
    scaled: NDArray[np.float64] = size * noise
    return scaled


def main() -> None:
    """Print the table and write it down."""
    parser = arguments("eeg_filtered", __doc__)
    parser.add_argument("--recordings", type=int, default=24, help="of each kind")
    settings = parser.parse_args()
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, 500.0, "eeg").set_montage(montage)
    model = head_model_for(info)
    plain, guided = MMInverse(settings=InverseSettings()), MMInverse()
    places = np.random.default_rng(SEED).integers(len(model.positions), size=settings.recordings)
    rows = []
    for case in track(CASES, "filters", console=console):
        errors = []
        with info._unlock():
            info["sfreq"] = case.rate
        for seed, source in enumerate(places):
            y = recorded(model, case, source, seed)
            evoked = mne.EvokedArray(y, info, verbose="ERROR")
            evoked.set_eeg_reference(projection=True, verbose="ERROR")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of recordings that are mostly noise
                found = [
                    mne_python_inverse(model, y[None], "sLORETA")[0],
                    plain.apply(evoked, verbose="ERROR").data,
                    guided.apply(evoked, verbose="ERROR").data,
                ]
            peaks = [np.abs(one).max(axis=1).argmax() for one in found]
            errors.append(np.linalg.norm(model.positions[peaks] - model.positions[source], axis=1))
        means, spread = 1e3 * np.mean(errors, 0), 1e3 * np.std(errors, 0, ddof=1)
        cells = (
            f"{m:.1f} ± {s:.1f}" for m, s in zip(means, spread / len(errors) ** 0.5, strict=True)
        )
        told = (case.noise, str(case.samples), f"{case.rate:g}", f"{case.snr_db:g}")
        rows.append(f"| {' | '.join((*told, *cells))} |")
    head = ("noise", "samples", "Hz", "dB", "sLORETA", "nothing learned", "guided")
    write(
        [
            "# Filtered recordings and ongoing activity",
            "",
            f"{made_by('eeg_filtered', SEED)}; one patch of cortex, 64 electrodes, "
            f"{settings.recordings} recordings a row. Noise as MNE-Python's filter leaves it; its "
            "samples depend on each other, and the solver has to find out. Four fifths of *brain* "
            "are slow activity of the whole cortex. Hum of the mains has 50 Hz, a size of its own "
            "on every channel, and a level relative to the patch's field. Distance of the "
            "strongest source from the middle of the patch in mm, mean ± standard error.",
            "",
            *table(head, rows),
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
