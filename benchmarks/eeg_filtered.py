"""What filters, rates and ongoing activity do to the estimates: real noise is not white.

One patch of cortex on 64 electrodes, its moment one deflection over the recording, and noise that
MNE-Python's filter has left: mean distance of the strongest source from the middle of the patch, of
sLORETA (MNE-Python's), of the solver that learns nothing, and of that solver guided by weights.
Four fifths of the power of "brain" are slow activity of the whole cortex (1/f), the rest is white.

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
    """How recordings are made: samples, rate in Hz, dB, the band of the noise in Hz, its kind."""

    samples: int
    rate: float
    snr_db: float
    low: float | None = None
    high: float | None = None
    brain: bool = False

    @property
    def noise(self) -> str:
        """Kind and filter, in words."""
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
)

BRAIN = 0.8  # of the power of such noise


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
    noise = noise - noise.mean(axis=0)
    size = 10 ** (-case.snr_db / 20) * np.linalg.norm(y) / np.linalg.norm(noise)
    found: NDArray[np.float64] = y + size * noise
    return found


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
            "are slow activity of the whole cortex. Distance of the strongest source from the "
            "middle of the patch in mm, mean ± standard error.",
            "",
            *table(head, rows),
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
