"""Train what Table I lacks at the paper's schedule, on a GPU that is there for some minutes.

Run with ``python examples/esi/table1_gpu.py`` as often as a GPU can be had (``make table1-gpu``).
Methods come in the order of what the table needs most; when the minutes are over, the training in
progress leaves a checkpoint, and the next run goes on from there. Whatever is finished is evaluated
within and across, and says what it was trained on. ``--share 0.01`` tries it at a hundredth.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from equal_training import FIXED, HERE, METHODS, PRINTED, Job, as_toml

import learnmm_esi.training.presets as presets

DATA = ("erp", "nmm-two")
GRACE = 60.0  # seconds in which a training that is interrupted writes its checkpoint


def settings(job: Job, share: float) -> dict[str, Any]:
    """The paper's schedule, or a share of it, in half precision where that is safe."""
    path = presets.FOLDER / "paper.toml"
    made = tomllib.loads(path.read_text(encoding="utf-8"))
    made["fit"]["precision"] = "bf16-mixed"
    made["fit"]["steps"] = max(1, round(share * made["fit"]["steps"]))
    made["fit"]["validate_every"] = max(1, round(share**0.5 * made["fit"]["validate_every"]))
    made["training"]["validation_size"] = max(8, round(share * made["training"]["validation_size"]))
    if not job.whole and job.data != "erp":
        made["recordings"]["window"] = 64
    return made


def run(command: list[str], until: float) -> bool:
    """Run a command of ``learnmm-esi``; whether it came to its end before the time was over."""
    whole = [sys.executable, str(HERE / "ablation.py"), *command]
    process = subprocess.Popen(whole, env=os.environ)
    try:
        code = process.wait(max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it ends its step and leaves a checkpoint
        process.wait(GRACE)
        return False
    if code:
        raise SystemExit(f"Error: {' '.join(command)} ended with {code}")
    return True


def main() -> None:
    """Read the options; go on where the last run stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of this run")
    parser.add_argument("--share", type=float, default=1.0, help="of the paper's steps")
    parser.add_argument("--samples", type=int, default=2000, help="of a test set")
    parser.add_argument("--data", nargs="+", default=list(DATA), help="trained and tested on")
    parser.add_argument("--out", type=Path, default=Path("out") / "table1-gpu")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    for job in (Job(m, data, "noise") for data in options.data for m in (PRINTED, *METHODS)):
        folder = options.out / job.name
        weights, preset = folder / "weights.safetensors", folder / "paper.toml"
        if not weights.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            preset.write_text(as_toml(settings(job, options.share)), encoding="utf-8")
            train = ["train", job.method, "--data", job.data, "--preset", str(preset)]
            if not run([*train, "--out", str(folder)], until):
                return
        for data in options.data:
            found = folder / f"{job.method}-noise-{job.data}-on-{data}.json"
            if found.is_file() or (job.method in FIXED and data != job.data):
                continue
            test = ["evaluate", str(weights), "--data", data, "--samples", str(options.samples)]
            if not run([*test, "--steps", "0", "--out", str(folder)], until):
                return


if __name__ == "__main__":
    main()
