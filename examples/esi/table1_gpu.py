"""Train what Table I lacks on a GPU, side by side.

Run with ``python examples/esi/table1_gpu.py`` as often as a GPU can be had (``make table1-gpu``).
A step of these methods is some ten thousand small operations, which should leave most of a GPU
idle, so all trainings run at once. Each takes the steps of ``equal_training.py``, as many as some
minutes of one core do, and says what it ran on. When the minutes of this run are over, trainings
leave checkpoints, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import equal_training
from equal_training import HERE, SEARCHED, STARTS, Job, lacking

from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.simulation.data_sets import load_protocol
from learnmm_esi.training.presets import load_preset

GRACE = 60.0  # seconds in which a training that is interrupted writes its checkpoint
TEST = 2  # seed of the test set


def simulated(data: str, samples: int) -> None:
    """Simulate on all cores what the trainings on a data set share, unless it is there."""
    preset = load_preset(equal_training.PRESET, equal_training.METHODS[0])
    model, protocol, made = fsaverage_head_model(preset.head), load_protocol(data), preset.training
    sets = (made.seed, made.train_size), (made.seed + 1, made.validation_size)
    simulators = [protocol.for_training().simulator(model, *one) for one in sets]
    simulators.append(protocol.simulator(model, TEST, samples))
    for simulator in simulators:
        if hasattr(simulator, "clips"):
            simulator.clips.prepare(simulator.size, simulator.patches.most, n_jobs=-1)


def missing(data: str, options: argparse.Namespace) -> list[Job]:
    """Trainings on a data set that are not on record."""
    return [
        job
        for job in equal_training.jobs([data])
        if job.start in options.starts and lacking(job, options)
    ]


def main() -> None:
    """Read the options; start everything, and stop it in time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="of this run")
    parser.add_argument(
        "--each", type=float, default=45.0, help="minutes of a core, for their steps"
    )
    parser.add_argument("--times", type=int, default=1, help="as many recordings a step")
    parser.add_argument("--data", nargs="+", default=[SEARCHED, "nmm-two"], help="trained on")
    parser.add_argument("--starts", nargs="+", default=STARTS, help="first iterates")
    parser.add_argument("--samples", type=int, default=2000, help="of a test set")
    parser.add_argument("--far", type=int, default=32, help="of them, far beyond the horizon")
    parser.add_argument("--out", type=Path, default=Path("out") / "table1-gpu")
    parser.add_argument("--evaluations", type=Path, default=HERE / "results" / "whole")
    options = parser.parse_args()
    options.tested = options.data
    options.samples, options.far = 2 * [options.samples], 2 * [options.far]  # of both data sets
    until = time.monotonic() + 60 * options.minutes
    command = [sys.executable, str(HERE / "equal_training.py"), "--minutes", str(options.each)]
    for name in ("times", "out", "evaluations"):
        command += [f"--{name}", str(getattr(options, name))]
    for name in ("starts", "tested", "samples", "far"):
        command += [f"--{name}", *map(str, getattr(options, name))]
    processes: list[subprocess.Popen[bytes]] = []
    for data in options.data:
        simulated(data, max(options.samples))
        # One of a group of its own for each training: whichever is free takes the next.
        processes += [
            subprocess.Popen([*command, "--data", data], start_new_session=True)
            for _ in missing(data, options)
        ]
    try:
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # trainings end their step
        codes = {process.wait(GRACE) for process in processes}
    if wrong := codes - {0, equal_training.INTERRUPTED}:
        raise SystemExit(f"Error: trainings ended with {sorted(wrong)}")


if __name__ == "__main__":
    main()
