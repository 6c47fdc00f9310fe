"""Thousands of small problems at once, until the last has stopped, in each way to run them.

Chained Rosenbrock functions of 2, 10 and 50 unknowns, 1024 starts around the usual one: step by
step, with compiled steps, and as one graph; with ``--jax`` BFGS and L-BFGS of optimistix and L-BFGS
of jaxopt beside them, compiled whole. Those are stopped from inside, where all but 1e-6 of the gap
to the least value is closed; this library stops where its own criterion says so, which is later.
Compilation is apart. Times are medians on one core.

``python -m benchmarks.many`` writes ``benchmarks/results/many.md``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import learnmm as lmm
from benchmarks.functions import rosenbrock
from benchmarks.gpu.batches import SEED, UNKNOWNS, starts
from benchmarks.pages import arguments, line, made_by, table, write

BATCH = 1024
WAYS: dict[str, Any] = {"step by step": False, "compiled steps": True, "one graph": "loop"}
SOLVED = 1e-6
LIMIT = 2000
GOALS = {2: 1.5, 10: 1.0, 50: 3.0}
"""Times over the fastest of JAX's, by unknowns."""


class Row(NamedTuple):
    """A solver on a batch: seconds, seconds of compiling, and shares of problems."""

    name: str
    seconds: float
    compiling: float
    solved: float
    monotone: float


def own(x0: Tensor, name: str, repeats: int) -> Row:
    """A row of this library."""
    solver = lmm.ProjectedMMOptimizer(rosenbrock, proposer=lmm.proposers.BFGS())
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        result = solver.minimize(x0, compiled=WAYS[name])
        times.append(time.perf_counter() - begin)
    least = 0.0  # at one in every entry
    closed = result.fun - least <= SOLVED * (result.initial_fun - least)
    median = statistics.median(times[1:])
    return Row(
        f"learnmm, {name}",
        median,
        max(times[0] - median, 0.0),
        float(closed.double().mean()),
        float(result.certificate.monotone.double().mean()),
    )


def others(python: Path, x0: Tensor, out: Path) -> list[Row]:
    """Rows of JAX's solvers, in the environment of that Python."""
    question, answer = out / "question.json", out / "answer.json"
    content = {
        "family": "chained-rosenbrock",
        "x0": x0.tolist(),
        "optimum": [0.0] * len(x0),
        "initial": rosenbrock(x0).tolist(),
        "evaluations": LIMIT,
        "tolerances": [SOLVED],
    }
    out.mkdir(parents=True, exist_ok=True)
    question.write_text(json.dumps(content))
    script = Path(__file__).parent / "peers" / "jax_solvers.py"
    subprocess.run([python, script, question, answer], check=True)
    rows = []
    for name, found in json.loads(answer.read_text()).items():
        seconds = found["seconds"][0] or float("nan")
        compiling = found["compilation"] - seconds
        rows.append(Row(name, seconds, compiling, found["solved"][0], found["monotone"]))
    return rows


def goal(unknowns: int, rows: list[Row]) -> str:
    """How the best of this library's stands to the best of the others that solve as many."""
    ours = [row for row in rows if row.name.startswith("learnmm")]
    best = min(ours, key=lambda row: row.seconds)
    theirs = [row for row in rows if row not in ours and row.solved >= best.solved]
    if not theirs:
        return "not measured" if len(ours) == len(rows) else "none solves as many"
    rival = min(theirs, key=lambda row: row.seconds)
    ratio = best.seconds / rival.seconds
    verdict = "reached" if ratio <= GOALS[unknowns] else "**missed**"
    return f"{ratio:.2f} times {rival.name}: {verdict}"


def page(batch: int, repeats: int, jax: Path | None, out: Path) -> list[str]:
    """All lines."""
    rows, goals = [], []
    for unknowns in UNKNOWNS:
        x0 = starts(batch, unknowns, "cpu")
        found = [own(x0, name, repeats) for name in WAYS]
        found += [] if jax is None else others(jax, x0, out)
        for row in found:
            shares = (f"{100 * share:.1f} %" for share in (row.solved, row.monotone))
            times = (f"{1e3 * row.seconds:.1f}", f"{row.compiling:.1f}")
            rows.append(line([str(unknowns), row.name, *times, *shares]))
            print(rows[-1], flush=True)
        goals.append(line([str(unknowns), f"at most {GOALS[unknowns]:g}", goal(unknowns, found)]))
    head = ("unknowns", "solver", "milliseconds", "s to compile", "solved to 1e-6", "monotone")
    return [
        "# Many small problems at once",
        "",
        f"{batch:,} chained Rosenbrock functions, float64, until the last has stopped, one core, "
        f"medians of {repeats}. JAX's solvers are stopped as soon as a problem is solved to 1e-6; "
        "ours by its own criterion, which goes on to a gradient of 1e-5 of the steepest or less.",
        "",
        made_by("many", SEED),
        "",
        *table(head, rows),
        *table(("unknowns", "goal: time over JAX's fastest", "measured"), goals),
    ]


def main() -> None:
    """Write the page."""
    parser = arguments("many", __doc__)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jax", type=Path, help="a Python with jax, jaxopt and optimistix")
    given = parser.parse_args()
    torch.set_num_threads(1)
    write(page(given.batch, given.repeats, given.jax, Path("out/many")), given.output)


if __name__ == "__main__":
    main()
