"""What slow problems cost their batch, now that those that have finished leave it.

100 000 problems at once: Rosenbrock valleys of five unknowns, a function that knows nothing of
restrictions, and regressions with Cauchy's loss, an atom with data of each problem. Starts lie
between close by and far away. Counted are problems evaluated, those of the start and of every check
among them, over those that problems need: one at the start and one for every step until they stop.

``python -m benchmarks.stragglers`` writes ``benchmarks/results/stragglers.md``.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

import learnmm as lmm
from benchmarks.functions import rosenbrock
from benchmarks.pages import arguments, line, made_by, table, write

SEED = 5
BATCH = 100_000
UNKNOWNS = 5
GOAL = 1.3


class Asked:
    """How many problems were evaluated."""

    def __init__(self) -> None:
        self.rows = 0


class Valleys(Asked):
    """Chained Rosenbrock functions, none with data of its own."""

    name = "Rosenbrock, a plain function"

    def objective(self, x0: Tensor) -> lmm.Objective:
        """The function, counting."""

        def fun(x: Tensor) -> Tensor:
            self.rows += len(x)
            return rosenbrock(x)

        return lmm.objective.CallableObjective(fun)


class Regressions(Asked):
    """Robust regressions, each on observations of its own."""

    name = "Cauchy regression, an atom"

    def objective(self, x0: Tensor) -> lmm.Objective:
        """The atom, counting."""
        generator = torch.Generator().manual_seed(SEED + 1)
        normal = {"generator": generator, "dtype": x0.dtype}
        matrix = torch.randn(12, UNKNOWNS, **normal)
        y = 3 * torch.randn(len(x0), 12, **normal)
        return counted(self, lmm.HalfQuadratic(y, "cauchy") @ matrix)


def counted(asked: Asked, atom: lmm.Atom) -> lmm.Atom:
    """The same atom, counting."""
    kind = type(atom)

    class Counted(kind):  # type: ignore[misc, valid-type]
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            asked.rows += len(x)
            return super().evaluate(x)

    twin = Counted.__new__(Counted)
    vars(twin).update(vars(atom))
    return twin


def measured(case: Valleys | Regressions, batch: int) -> str:
    """A row of the table."""
    generator = torch.Generator().manual_seed(SEED)
    away = 10 ** (2.5 * torch.rand(batch, 1, generator=generator, dtype=torch.float64) - 1)
    x0 = away * torch.randn(batch, UNKNOWNS, generator=generator, dtype=torch.float64)
    objective = case.objective(x0)
    began = time.perf_counter()
    result = lmm.minimize(objective, x0)
    seconds = time.perf_counter() - began
    needed = batch + int(result.iterations.sum())
    together = batch * (1 + int(result.iterations.max()))
    middle = f"{int(result.iterations.median())} of {int(result.iterations.max())}"
    print(case.name, case.rows / needed, together / needed, middle, seconds, flush=True)
    return line(
        [
            case.name,
            middle,
            f"{needed / 1e6:.2f}",
            f"{case.rows / needed:.2f}",
            f"{together / needed:.2f}",
            f"{seconds:.0f}",
        ]
    )


def page(batch: int) -> list[str]:
    """All lines."""
    head = (
        "problems",
        "steps, median of most",
        "evaluations needed (millions)",
        "evaluated over needed",
        "if all had stayed",
        "seconds",
    )
    return [
        "# Slow problems and their batch",
        "",
        f"{batch:,} problems at once, minimized by the default steps. Goal: at most {GOAL} times "
        "the evaluations that the problems need, where half of a batch leaves it at a time.",
        "",
        made_by("stragglers", SEED),
        "",
        *table(head, [measured(case, batch) for case in (Valleys(), Regressions())]),
    ]


def main() -> None:
    """Write the page."""
    parser = arguments("stragglers", __doc__)
    parser.add_argument("--batch", type=int, default=BATCH)
    given = parser.parse_args()
    output: Path = given.output
    write(page(given.batch), output)


if __name__ == "__main__":
    main()
