"""Time per step from a thousand to ten million unknowns, by products alone.

A blurred image (circular convolution, 7 x 7) and a sparse system (five entries a row), each with a
Huber misfit and a ridge, float32, one problem, separable `GLOBAL` bounds. The own step of the
majorant and the limited-memory step are timed beside value and gradient; the slope is that of a
line through the logarithms.

``python -m benchmarks.large`` prints the table and writes ``benchmarks/results/large.md`` and
``large.png``. The largest problem takes about 4 GB.
"""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import learnmm as lmm
from benchmarks.pages import arguments, line, made_by, table, write

SEED = 5
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
HISTORY = 5
LINEAR_FROM = 100_000
"""Below, the time of a step is that of calling functions."""

COLUMNS = ("value and gradient", "own step", "limited memory")
console = Console(stderr=True)


class Row(NamedTuple):
    """Seconds of the columns for so many unknowns; steps that raised the energy."""

    unknowns: int
    seconds: tuple[float, float, float]
    monotone: bool


def blurred(n: int, generator: torch.Generator) -> tuple[lmm.Atom, Tensor]:
    """An image of about ``n`` pixels."""
    side = round(math.sqrt(n))
    line = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / 4)
    blur = lmm.linear.convolution(torch.outer(line, line) / line.sum() ** 2, (side, side))
    y = blur(torch.rand(1, side, side, generator=generator))
    return lmm.HalfQuadratic(y, "huber", 0.05) @ blur + 0.01 * lmm.Quadratic(torch.zeros_like(y)), y


def sparse(n: int, generator: torch.Generator) -> tuple[lmm.Atom, Tensor]:
    """Half as many equations as unknowns, five random entries each."""
    rows = n // 2
    columns = torch.randint(0, n, (rows, 5), generator=generator)
    index = torch.stack([torch.arange(rows)[:, None].expand(rows, 5), columns]).flatten(1)
    entries = torch.randn(5 * rows, generator=generator)
    matrix = torch.sparse_coo_tensor(index, entries, (rows, n), check_invariants=False)
    y = torch.randn(1, rows, generator=generator)
    fit = lmm.HalfQuadratic(y, "huber", 0.5) @ lmm.linear.MatrixMap(matrix, form="separable")
    start = torch.zeros(1, n)
    return fit + 0.01 * lmm.Quadratic(start), start


PROBLEMS: dict[str, Callable[[int, torch.Generator], tuple[lmm.Atom, Tensor]]] = {
    "blur": blurred,
    "sparse": sparse,
}


@torch.no_grad()
def measure(make: Callable[[int, torch.Generator], tuple[lmm.Atom, Tensor]], n: int) -> Row:
    """Median seconds of steps in a run, after the memory has filled."""
    energy, x0 = make(n, torch.Generator().manual_seed(SEED))
    repeats = 3 if n >= 1_000_000 else 9
    medians, monotone = [], True
    times = []
    for _ in range(1 + repeats):
        begin = time.process_time()
        energy.evaluate(x0)
        times.append(time.process_time() - begin)
    medians.append(statistics.median(times[1:]))
    for rule in (None, lmm.LimitedMemory(HISTORY)):
        optimizer = lmm.ProjectedMMOptimizer(
            energy, proposer=rule, settings=lmm.SolveSettings(gtol=0.0)
        )
        state = optimizer.init(x0)
        times = []
        for _ in range(2 + repeats):
            before = state.value
            begin = time.process_time()
            state, _ = optimizer.step(state)
            times.append(time.process_time() - begin)
            monotone &= bool((state.value <= before).all())
        medians.append(statistics.median(times[2:]))
        del state
    return Row(x0.numel(), (medians[0], medians[1], medians[2]), monotone)


def slope(rows: list[Row], column: int) -> float:
    """Exponent of the time in the size, by least squares on logarithms."""
    points = [(r.unknowns, r.seconds[column]) for r in rows if r.unknowns >= LINEAR_FROM * 0.9]
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in zip(*points, strict=True))
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x))


def picture(results: dict[str, list[Row]], path: Path) -> None:
    """Both axes logarithmic, with a line of slope one."""
    figure, axes = plt.subplots(1, len(results), figsize=(9, 3.6), sharey=True)
    for axis, (name, rows) in zip(axes, results.items(), strict=True):
        sizes = [row.unknowns for row in rows]
        for column, label in enumerate(COLUMNS):
            axis.loglog(sizes, [row.seconds[column] for row in rows], "o-", label=label)
        last = rows[-1]
        guide = [last.seconds[0] * size / last.unknowns for size in sizes]
        axis.loglog(sizes, guide, "k:", label="linear")
        axis.set(title=name, xlabel="unknowns")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def cells(name: str, n: int, seconds: tuple[float, float, float], monotone: bool) -> str:
    """Of the table of times."""
    value, own, limited = seconds
    ratios = [f"{own / value:.2f}", f"{limited / own:.2f}", "yes" if monotone else "NO"]
    return line([name, f"{n:,}", *(f"{1e3 * time:.3g}" for time in seconds), *ratios])


def main() -> None:
    """Measure, print, write."""
    parser = arguments("large", __doc__)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    settings = parser.parse_args()
    sizes = [n for n in SIZES if n <= settings.largest]
    results = {
        name: [measure(make, n) for n in track(sizes, name, console=console)]
        for name, make in PROBLEMS.items()
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB to GiB
    head = ["problem", "unknowns", *(f"{label}, ms" for label in COLUMNS)]
    head += ["own step over value and gradient", "limited memory over own step", "monotone"]
    times = [cells(name, *row) for name, rows in results.items() for row in rows]
    slopes = [
        line([name, *(f"{slope(rows, c):.2f}" for c in range(len(COLUMNS)))])
        for name, rows in results.items()
    ]
    write(
        [
            "# From a thousand to ten million unknowns",
            "",
            f"{made_by('large', SEED)}, float32; milliseconds of the processor, medians; history "
            f"{HISTORY}. Peak memory {peak:.1f} GiB.",
            "",
            *table(head, times),
            f"Time grows with the size to the power of (fitted from {LINEAR_FROM:,} unknowns on):",
            "",
            *table(["problem", *COLUMNS], slopes),
            "![Seconds per step](large.png)",
            "",
        ],
        settings.output,
    )
    picture(results, settings.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
