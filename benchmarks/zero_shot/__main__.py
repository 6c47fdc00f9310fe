"""Measure, tabulate and draw: ``python -m benchmarks.zero_shot --help``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from learnmm.hardware import processor
from learnmm.proposers.quasi_newton.proposer import PRETRAINED
from learnmm.storage import write_file

from .. import pages
from ..peers import profiles
from ..peers.cache import Cache, fingerprint
from ..peers.measure import measured, with_optimum
from ..peers.recorder import Budget
from ..peers.suite import SEED, Case, singles
from . import page
from .problems import FIVE, open_l2o
from .solvers import LEARNED, SOLVERS, UNVERIFIED
from .speed import CHECKPOINTS, REFERENCE, problems, speeds

TEMPLATE = Path(__file__).with_name("page.md")
console = Console(stderr=True)


def measure(
    cases: dict[str, Callable[[], Case]], cache: Cache, budget: Budget, title: str
) -> page.Runs:
    """Every solver on every problem."""
    runs: page.Runs = {solver.name: {} for solver in SOLVERS}
    weights = fingerprint([PRETRAINED])
    for name, make in track(cases.items(), title, console=console):
        case = with_optimum(make(), lambda f, n=name: cache.get(f"reference {n}", f))
        for solver in SOLVERS:
            mark = weights if solver.name in (LEARNED, UNVERIFIED) else ""
            runs[solver.name][name] = cache.get(
                f"{solver.name} {mark} on {name}",
                lambda s=solver, c=case: measured(s, c, budget)[0],
            )
    return page.with_best_rates(runs)


def measure_speeds(cache: Cache, starts: int) -> dict[str, dict[str, list[list[float]]]]:
    """Speeds by problem and solver, a list per start."""
    weights = fingerprint([PRETRAINED])
    found: dict[str, dict[str, list[list[float]]]] = {name: {} for name in FIVE}
    for name, seed in track(problems(starts), "five problems", console=console):
        one = cache.get(f"speeds {weights} {name} {seed}", lambda n=name, s=seed: speeds(n, s))
        for solver, numbers in one.items():
            found[name].setdefault(solver, []).append(numbers)
    return found


def mean(numbers: list[float]) -> float:
    """Geometric mean."""
    return statistics.geometric_mean(numbers)


def speed_table(found: dict[str, dict[str, list[list[float]]]]) -> list[str]:
    """A row per solver: by problem, by checkpoint, and over all."""
    rows = []
    for solver in next(iter(found.values())):
        by_problem = [mean([x for one in by[solver] for x in one]) for by in found.values()]
        every = [one for by in found.values() for one in by[solver]]
        by_point = [mean([one[k] for one in every]) for k in range(len(CHECKPOINTS))]
        cells = (f"{x:.2f}" for x in [*by_problem, *by_point, mean(by_problem)])
        rows.append(pages.line([solver, *cells]))
    return pages.table(["solver", *found, *(f"GD {k}" for k in CHECKPOINTS), "all"], rows)


def main() -> None:
    """Print the page and write it down."""
    parser = pages.arguments("zero_shot", __doc__)
    parser.add_argument("--quick", action="store_true", help="two problems, one start")
    parser.add_argument("--evaluations", type=int, default=300, help="limit of one run")
    parser.add_argument("--seconds", type=float, default=600.0, help="limit of one run")
    parser.add_argument("--tests", type=int, default=3, help="problems of a family of Open-L2O")
    parser.add_argument("--starts", type=int, default=1, help="of the five problems")
    parser.add_argument("--raw", type=Path, default=Path("out/bench"), help="measurements so far")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    suite, others, starts = singles(), open_l2o(settings.tests), settings.starts
    if settings.quick:
        suite = {name: suite[name] for name in ("mgh/rosenbrock", "logistic-regression")}
        others, starts, settings.evaluations = open_l2o(1), 1, 100
    budget = Budget(settings.seconds, settings.evaluations)
    header = {
        "seconds": settings.seconds,
        "evaluations": settings.evaluations,
        "torch": torch.__version__,
    }
    cache = Cache(settings.raw / ("quick_" * settings.quick + "zero_shot.json"), header)
    on_suite = measure(suite, cache, budget, "suite")
    on_others = measure(others, cache, budget, "Open-L2O")
    found = measure_speeds(cache, starts)
    overall = {
        solver: [mean([x for one in by[solver] for x in one]) for by in found.values()]
        for solver in next(iter(found.values()))
    }
    families = [
        text
        for name in dict.fromkeys(problem.split("/")[0] for problem in others)
        for text in (f"### {name}", "", *page.overview(page.of_family(on_others, name)))
    ]
    picture = settings.output.with_suffix(".png")
    profiles.draw(
        picture,
        [
            (title, lambda solver, problem, k=k: page.cost(on_suite[solver][problem], k))
            for k, title in enumerate(("evaluations to 1e-3", "evaluations to 1e-6"))
        ],
        list(on_suite),
        [LEARNED],
        list(suite),
    )
    text = TEMPLATE.read_text().format(
        made=pages.made_by("zero_shot", SEED),
        processor=processor(),
        evaluations=settings.evaluations,
        started=page.STARTED,
        picture=picture.name,
        goals="\n".join(page.goals(on_suite, overall, REFERENCE)),
        speeds="\n".join(speed_table(found)),
        starts=starts,
        suite="\n".join(page.overview(on_suite)),
        functions="\n".join(page.overview(page.of_family(on_suite, "mgh"))),
        families="\n".join(families),
        problems="\n".join(page.by_problem(on_suite)),
    )
    raw = {"suite": on_suite, "open_l2o": on_others, "speeds": found}
    write_file(settings.output.with_suffix(".json"), json.dumps(raw, indent=0).encode())
    pages.write([text.rstrip(), ""], settings.output)


if __name__ == "__main__":
    main()
