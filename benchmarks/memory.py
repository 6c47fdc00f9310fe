"""What a long unrolled solve holds in memory, with and without checkpointing.

Every row is a process of its own: forward and backward through ``K`` steps, and how far the peak
of its resident memory rises above where it was before. ``python -m benchmarks.memory`` prints the
table and writes ``benchmarks/results/memory.md``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import torch
from torch import nn

import learnmm as lmm
from benchmarks.pages import arguments, made_by, table, write

SEED = 7
STEPS = (10, 30, 100)
ROWS = (
    ("unroll", True),
    ("checkpoint", True),
    ("checkpoint", False),
)
BATCH, SENSORS, SOURCES, TIMES = 32, 40, 256, 64
SETTLED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16)}


def measure(backward: str, keep: bool, steps: int) -> None:
    """Print MiB added by a forward and backward pass, and its seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    network = nn.Sequential(
        nn.Conv1d(SOURCES, 64, 3, padding=1), lmm.SoftReLU(), nn.Conv1d(64, SOURCES, 3, padding=1)
    )
    prior = lmm.AutoencoderPrior(network)
    leadfield = lmm.linear.MatrixMap(torch.randn(SENSORS, SOURCES))
    solver = lmm.UnrolledMM(
        lambda y: lmm.CosineDistance(y) @ leadfield + prior,
        lmm.proposers.DualConvLSTM(SOURCES, 48),
        steps=steps,
        backward=lmm.Backward(backward, keep_iterates=keep),
    )
    y = torch.randn(BATCH, SENSORS, TIMES)
    x0 = torch.randn(BATCH, SOURCES, TIMES)
    with torch.no_grad():
        solver(y, x0, steps=1)  # libraries loaded, decomposition computed
    before = peak()
    begin = time.perf_counter()
    solver(y, x0).values[-1].mean().backward()
    print(peak() - before, time.perf_counter() - begin)


def peak() -> float:
    """Peak resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(backward: str, keep: bool, steps: int, environment: dict[str, str]) -> tuple[float, float]:
    """Run a measurement in a fresh process."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.memory",
        "--measure",
        backward,
        str(int(keep)),
        str(steps),
    ]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    memory, seconds = map(float, done.stdout.split())
    return memory, seconds


def main() -> None:
    """Print the table and write it down."""
    parser = arguments("memory", __doc__)
    parser.add_argument("--measure", nargs=3, metavar=("BACKWARD", "KEEP", "STEPS"))
    settings = parser.parse_args()
    if settings.measure:
        backward, keep, steps = settings.measure
        measure(backward, keep == "1", int(steps))
        return

    lines = []
    for backward, keep in ROWS:
        cells = []
        for steps in STEPS:
            memory, seconds = row(backward, keep, steps, SETTLED)
            default, _ = row(backward, keep, steps, {})
            cells.append((memory, default, seconds))
            print(f"{backward}, {steps} steps: {memory:.0f} MiB", file=sys.stderr)
        (first, *_), (last, default, seconds) = cells[0], cells[-1]
        held = " | ".join(f"{memory:.0f}" for memory, *_ in cells)
        kept = "all" if keep else "last"
        lines.append(
            f"| {backward} | {kept} | {held} | {last / first:.1f} | {default:.0f} | {seconds:.1f} |"
        )
    iterate = BATCH * SOURCES * TIMES * 4 / 2**20
    head = ["backward", "iterates kept", *(f"K = {count}" for count in STEPS)]
    head += ["K = 100 over K = 10", "K = 100, malloc's default", "K = 100, s"]
    write(
        [
            "# Memory of an unrolled solve",
            "",
            f"{made_by('memory', SEED)}, one thread. Cosine data term ({SENSORS} x {SOURCES}) and "
            "convolutional autoencoder prior, dual ConvLSTM with 48 channels; batch "
            f"{BATCH}, {TIMES} times, float32: an iterate takes {iterate:.1f} MiB, the state "
            "between two steps (iterate, gradient, memory of the proposer) about three times "
            "as much.",
            "",
            "MiB by which the peak of resident memory rises during forward and backward, each in "
            "a process of its own. glibc's malloc is told to return freed arrays to the system "
            "(`MALLOC_MMAP_THRESHOLD_=65536`), so that the numbers are what is held; the column "
            "before the last is without, where the heap fragments.",
            "",
            *table(head, lines),
            "Checkpointing keeps the state before every step up to 16 of them. Beyond, it keeps "
            "states between about `sqrt(K)` segments, and those within the segment that is being "
            "differentiated. An outer loss on all iterates holds `K` of them besides, which is "
            "what `keep_iterates=False` leaves out.",
            "",
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
