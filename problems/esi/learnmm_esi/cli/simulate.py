"""The command ``learnmm-esi simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from learnmm_esi.cli.options import MOST_SAMPLES, Data, Ico, IcoOption
from learnmm_esi.cli.terminal import counting, out, say

__all__ = ["simulate"]


def simulate(
    data: Annotated[
        Data,
        typer.Argument(help="Event-related potentials, or spikes of neural masses, one or two."),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    samples: Annotated[
        int, typer.Option(min=1, max=MOST_SAMPLES, help="How many recordings.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Names the data set.")] = 0,
    snr_db: Annotated[
        float | None,
        typer.Option(help="Sensor SNR in dB. Default: 5 (erp), 5 to 15 (nmm), 8 to 17 (nmm-two)."),
    ] = None,
    ico: IcoOption = Ico.ico4,
) -> None:
    """Simulate recordings and write them with their true sources.

    For each: sample-00000-ave.fif (evoked, in V), sample-00000-truth-lh.stc
    and -rh.stc (source estimate, in A m), all of which MNE-Python reads;
    samples.json lists seed regions and SNR.

    Amplitudes are those of the paper's protocol, which no metric depends on:
    erp has potentials of tens to hundreds of µV within 125 ms, ten times and
    more those of evoked responses that people measure.
    """
    from learnmm_esi.cli.outputs import make_writable
    from learnmm_esi.head.fsaverage import fsaverage_head_model
    from learnmm_esi.head.settings import HeadModelSettings
    from learnmm_esi.simulation.data_sets import simulator
    from learnmm_esi.simulation.noise import snr_range
    from learnmm_esi.simulation.sample_files import write_samples

    noise = {} if snr_db is None else {"snr_db": snr_range(snr_db)}
    make_writable(folder)
    model = fsaverage_head_model(HeadModelSettings(ico=int(ico.value)), progress=True)
    recordings = simulator(model, data.value, seed, samples, **noise)
    with out.status("preparing recordings"):
        recordings.prepare()
    with counting() as progress:
        task = progress.add_task("writing samples", total=samples)
        for _ in write_samples(folder, recordings, model, recordings.sfreq, data.value):
            progress.advance(task)
    say(f"{samples} recordings and their sources: {folder}")
