"""Write simulated recordings as files that MNE-Python reads: evoked responses and true sources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import mne
import numpy as np

from learnmm.storage import replacing
from learnmm_esi.head.model import HeadModel
from learnmm_esi.simulation.samples import Sample

__all__ = ["write_samples"]


def write_samples(
    folder: Path, samples: Iterable[Sample], model: HeadModel, sfreq: float, comment: str
) -> Iterator[Path]:
    """Write samples one by one and yield the path of each recording.

    Sample 3 is ``sample-00003-ave.fif``, an `mne.Evoked` in V with an average-reference projector,
    and ``sample-00003-truth-lh.stc`` with its right half, an `mne.SourceEstimate` in A m on the
    sources of the head model. ``samples.json``, written last, lists the seed region (of the
    first patch, and of all), its vertex and the signal-to-noise ratio of each. No file is ever
    seen half written.

    Amplitudes are those of the simulator: the paper's protocol, whose event-related potentials
    reach tens to hundreds of µV within 125 ms, ten times and more those of measured ones. No metric
    depends on it.

    Parameters
    ----------
    folder : Path
        Made if needed.
    samples : iterable of Sample
        Single ones, not batches.
    model : HeadModel
        That they were simulated on, with vertices.
    sfreq : float
        Sampling rate in Hz.
    comment : str
        Name of the condition.

    Yields
    ------
    Path
        Of the evoked file just written.

    Raises
    ------
    ValueError
        If the head model has no vertices.
    """
    if model.vertices is None:
        raise ValueError(
            "write_samples: expected a head model on two surfaces, whose vertices a source "
            f"estimate names, got one without: {model}"
        )
    info = model.info(sfreq)
    vertices = [np.array(v) for v in model.vertices]
    vertex = np.concatenate(vertices)
    facts = []
    for sample in samples:
        name = f"sample-{sample.index:05d}"
        evoked = mne.EvokedArray(sample.sensors, info, tmin=0.0, comment=comment)
        evoked.set_eeg_reference(projection=True, verbose="ERROR")
        path = folder / f"{name}-ave.fif"
        truth = mne.SourceEstimate(
            sample.sources, vertices, tmin=0.0, tstep=1.0 / sfreq, subject="fsaverage"
        )
        with replacing(path) as first:
            evoked.save(first, overwrite=True, verbose="ERROR")
            truth.save(first.with_name(f"{name}-truth"), overwrite=True, verbose="ERROR")
        facts.append(
            {
                "file": path.name,
                "index": int(sample.index),
                "seed_source": int(sample.seed_source),
                "seed_sources": [int(seed) for seed in sample.seed_sources if seed >= 0],
                "seed_vertex": int(vertex[sample.seed_source]),
                "hemisphere": "lh" if sample.seed_source < len(vertices[0]) else "rh",
                "snr_db": float(sample.snr_db),
            }
        )
        yield path
    content = {"head_model": str(model.settings), "sfreq": sfreq, "samples": facts}
    with replacing(folder / "samples.json") as file:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
