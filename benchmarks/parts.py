"""What a step costs when processes share the unknowns of one problem, and what 64 would make of it.

A chain of coupled unknowns, float32, limited memory: one process with all of them, and two with as
many each. Counted are the sums over all processes in a step and the numbers in them; neither grows
with the unknowns. Those of the objective come on top: here the value, and the neighbours of the
ends, which `DTensor` sees to. On paper a process of 64 then spends the time of its own part, and
for every sum ``2 log2(64)`` messages.

``python -m benchmarks.parts`` writes ``benchmarks/results/parts.md``.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import learnmm as lmm
from benchmarks.pages import arguments, line, made_by, table, write
from learnmm import shards

SEED = 11
STEPS = 30
LATENCIES = {"within a machine, 5 µs a message": 5e-6, "between machines, 50 µs": 50e-6}
PAPER = 64

Measured = dict[str, float]


def fun(x: Any) -> Any:
    """A chain with a quartic."""
    return ((x[1:] - x[:-1]) ** 2).sum() + 0.1 * ((x**2 - 1) ** 2).sum()


def measured(start: Any) -> Measured:
    """Of a run of fixed length, per step: seconds of the processor, and what is summed."""
    sums: list[int] = []
    reduced = dist.all_reduce

    def counted(numbers: torch.Tensor, *rest: Any, **options: Any) -> Any:
        sums.append(numbers.numel())
        return reduced(numbers, *rest, **options)

    shards.dist.all_reduce = counted
    try:
        begin = time.process_time()
        settings = lmm.SolveSettings(gtol=0.0, max_iter=STEPS)
        result = lmm.minimize(fun, start, settings=settings)
        seconds = time.process_time() - begin
    finally:
        shards.dist.all_reduce = reduced
    steps = int(result.iterations)
    return {
        "seconds": seconds / steps,
        "sums": len(sums) / steps,
        "numbers": sum(sums) / steps,
        "monotone": float(result.certificate.monotone.all()),
    }


def work(rank: int, processes: int, size: int, repeats: int, folder: str) -> None:
    """One of the processes; the first writes down what it saw."""
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting{processes}-{size}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    generator = torch.Generator().manual_seed(SEED)
    whole = torch.randn(processes * size, generator=generator)
    x0 = distribute_tensor(whole, mesh, [Shard(0)])
    runs = [measured(x0) for _ in range(1 + repeats)][1:]
    if rank == 0:
        Path(folder, "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    dist.destroy_process_group()


def main() -> None:
    """Measure, print, write."""
    parser = arguments("parts", __doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    settings = parser.parse_args()
    rows, paper = [], []
    for size in settings.sizes:
        seen: dict[int, list[Measured]] = {}
        for processes in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                given = (processes, size, settings.repeats, folder)
                torch.multiprocessing.spawn(work, given, nprocs=processes)
                seen[processes] = json.loads(Path(folder, "runs.json").read_text("utf-8"))
        one, two = (statistics.median(r["seconds"] for r in seen[k]) for k in (1, 2))
        first = seen[2][0]
        monotone = all(r["monotone"] for runs in seen.values() for r in runs)
        rows.append(
            line(
                [
                    f"{size:,}",
                    f"{1e3 * one:.2f}",
                    f"{1e3 * two:.2f}",
                    f"{two / one:.2f}",
                    f"{first['sums']:.1f}",
                    f"{first['numbers']:.0f}",
                    "yes" if monotone else "NO",
                ]
            )
        )
        waits = [first["sums"] * 2 * math.log2(PAPER) * latency for latency in LATENCIES.values()]
        shares = [f"{100 * one / (one + wait):.0f} %" for wait in waits]
        paper.append(line([f"{size:,}", *shares]))
    head = ["unknowns of a process", "one process, ms a step", "two, twice the unknowns, ms"]
    head += ["ratio", "sums a step", "numbers in them", "monotone"]
    write(
        [
            "# One problem in several processes",
            "",
            f"{made_by('parts', SEED)}, one thread a process, gloo; time of the "
            f"processor in one of them, medians of {settings.repeats} runs of {STEPS} steps.",
            "",
            *table(head, rows),
            f"On paper, with {PAPER} processes: the share of a step that is not spent waiting, if "
            f"a sum takes 2 log2({PAPER}) messages and the objective needs no more than its value.",
            "",
            *table(["unknowns of a process", *LATENCIES], paper),
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
