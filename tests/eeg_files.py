"""Write small recordings in the formats of amplifiers, as their specifications have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

RANGE = 2e-4  # V; the digital range covers plus and minus this


def write_edf(path: Path, data: np.ndarray, names: list[str], sfreq: int, *, bdf: bool) -> None:
    """One-second records of 16 bits (EDF) or 24 bits (BDF); `data` in V, whole seconds."""
    count, times = data.shape
    records, top = times // sfreq, 2**23 - 1 if bdf else 2**15 - 1
    head = b"\xffBIOSEMI" if bdf else b"0".ljust(8)
    head += b"X X X X".ljust(80) + b"Startdate X X X X".ljust(80) + b"01.01.2001.01.01"
    head += str(256 * (count + 1)).encode().ljust(8) + (b"24BIT" if bdf else b"").ljust(44)
    head += f"{records:<8}{1:<8}{count:<4}".encode()
    fields = [
        (names, 16), ([""] * count, 80), (["uV"] * count, 8), ([-1e6 * RANGE] * count, 8),
        ([1e6 * RANGE] * count, 8), ([-top] * count, 8), ([top] * count, 8), ([""] * count, 80),
        ([sfreq] * count, 8), ([""] * count, 32),
    ]  # fmt: skip
    for values, width in fields:
        head += b"".join(
            (f"{v:g}" if isinstance(v, float) else str(v)).encode().ljust(width) for v in values
        )
    digital = np.round(data / RANGE * top).astype("<i4")
    blocks = digital.reshape(count, records, sfreq).transpose(1, 0, 2).ravel()
    raw = blocks.view(np.uint8).reshape(-1, 4)[:, : 3 if bdf else 2]
    path.write_bytes(head + raw.tobytes())


def write_brainvision(path: Path, data: np.ndarray, names: list[str], sfreq: int) -> None:
    """Header, empty markers and float32 data in microvolts."""
    lines = [
        "Brain Vision Data Exchange Header File Version 1.0", "[Common Infos]",
        f"DataFile={path.stem}.eeg", f"MarkerFile={path.stem}.vmrk", "DataFormat=BINARY",
        "DataOrientation=MULTIPLEXED", f"NumberOfChannels={len(names)}",
        f"SamplingInterval={1e6 / sfreq:g}", "[Binary Infos]", "BinaryFormat=IEEE_FLOAT_32",
        "[Channel Infos]", *(f"Ch{k + 1}={name},,1,µV" for k, name in enumerate(names)),
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    markers = ["Brain Vision Data Exchange Marker File, Version 1.0", "[Common Infos]"]
    markers += [f"DataFile={path.stem}.eeg", "[Marker Infos]", "Mk1=New Segment,,1,1,0"]
    path.with_suffix(".vmrk").write_text("\n".join(markers), encoding="utf-8")
    path.with_suffix(".eeg").write_bytes((1e6 * data.T).astype("<f4").tobytes())


def write_eeglab(path: Path, data: np.ndarray, names: list[str], sfreq: int) -> None:
    """``(channels, times)``, or epochs ``(channels, times, trials)`` with one event each."""
    trials = 1 if data.ndim == 2 else data.shape[2]
    events: list[dict[str, object]] = []
    if trials > 1:
        events = [
            {"type": "left", "latency": k * data.shape[1] + 1, "epoch": k + 1}
            for k in range(trials)
        ]
    eeg = {
        "setname": "test", "nbchan": len(names), "pnts": data.shape[1], "trials": trials,
        "srate": float(sfreq), "xmin": 0.0, "xmax": (data.shape[1] - 1) / sfreq,
        "data": 1e6 * data, "event": events, "icawinv": [], "icaweights": [], "icasphere": [],
        "chanlocs": np.array(
            [(name, 0.0, 0.0, 0.0) for name in names],
            dtype=[("labels", object), ("X", object), ("Y", object), ("Z", object)],
        ),
        "epoch": [{"event": k + 1, "eventlatency": 0.0, "eventtype": "left"} for k in range(trials)]
        if trials > 1
        else [],
    }  # fmt: skip
    savemat(path, {"EEG": eeg}, appendmat=False)
