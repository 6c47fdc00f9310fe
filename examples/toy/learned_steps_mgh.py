"""What learning buys on each of the 35 functions of Moré, Garbow and Hillstrom.

As ``learned_steps.py``, on instances that differ in their start alone: standard sizes, starts
around the standard one. There are no majorants in closed form, so bounds come from Lanczos.

``python examples/toy/learned_steps_mgh.py`` prints the table and writes
``examples/toy/results/learned_steps_mgh.md``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from learned_steps import BATCH, FLOOR, HORIZON, METHODS, SEED, UNSEEN, Entry, Run, compare

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm_problems.mgh import FUNCTIONS, MGHProblem

TRAINING, BATCHES = 20, 4
"""Steps of Adam, and batches of starts."""

BUDGET = 30
"""Evaluations after which gaps are compared."""

BETTER = 2.0
"""A gap is smaller, or larger, from this factor on."""


def entry(function: str) -> Entry:
    """Train in float64: several functions are badly scaled by design."""
    return Entry(MGHProblem(function), lmm.proposers.CoordinatewiseLSTM, TRAINING, torch.float64)


def row(function: str, runs: dict[str, Run]) -> str:
    """Gaps of all methods; the least monotone of them; how much the learned one was refused."""
    gaps = " | ".join(f"{float(run.gaps[BUDGET]):.1e}" for run in runs.values())
    monotone = min(run.monotone for run in runs.values())
    refused = " | ".join(f"{runs[method].refused:.0%}" for method in ("own steps", "learned"))
    return f"| {FUNCTIONS[function].number} | {function} | {gaps} | {monotone:.0%} | {refused} |"


def verdict(results: dict[str, dict[str, Run]], method: str, other: str) -> str:
    """Say on how many functions one method's gap is smaller than the other's."""
    ratios = [
        float(runs[method].gaps[BUDGET] / runs[other].gaps[BUDGET]) for runs in results.values()
    ]
    smaller = sum(ratio <= 1 / BETTER for ratio in ratios)
    larger = sum(ratio >= BETTER for ratio in ratios)
    return (
        f"- {method} against {other}: smaller by a factor of {BETTER:g} or more on {smaller}, "
        f"larger on {larger}, neither on {len(ratios) - smaller - larger}."
    )


def main() -> None:
    """Train, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("examples/toy/results"))
    output: Path = parser.parse_args().output
    results = {}
    began = time.perf_counter()
    for function in FUNCTIONS:
        results[function] = compare(entry(function), TRAINING, BATCHES, progress=False)
        print(row(function, results[function]), flush=True)
    minutes = (time.perf_counter() - began) / 60
    lines = [
        "# What learning buys on the functions of Moré, Garbow and Hillstrom",
        "",
        f"`python examples/toy/learned_steps_mgh.py`, seed {SEED}, torch {torch.__version__}, "
        f"{hardware()}; {minutes:.1f} minutes in all, "
        f"training included. Training: {TRAINING} steps on {BATCHES} batches of {BATCH} starts, "
        f"{HORIZON} steps. Evaluation: {UNSEEN} starts, of which the first is the standard one and "
        "the others are unseen. float64.",
        "",
        f"Gap: median of `(f_k - best) / (f_0 - best)` after {BUDGET} evaluations; {FLOOR:.0e} "
        "means that or less. `best` is the published optimum, or where a function has other minima "
        "the end of a limited-memory run from the same start. Monotone: the least of the four.",
        "",
        *(verdict(results, method, "own steps") for method in METHODS[1:]),
        verdict(results, "learned", "one number"),
        "",
        f"| | function | {' | '.join(METHODS)} | monotone | refused, own | refused, learned |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(function, runs) for function, runs in results.items()),
        "",
        "[Why](notes.md)",
        "",
    ]
    output.mkdir(parents=True, exist_ok=True)
    (output / "learned_steps_mgh.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
