"""Measure, tabulate and draw: ``python -m benchmarks.peers --help``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from learnmm.hardware import processor

from .. import pages
from . import page, profiles
from .batches import SAMPLE, summarized
from .cache import Cache, fingerprint
from .measure import measured, warm_up, with_optimum
from .recorder import PRODUCT_WORK, Budget
from .solvers import BASELINE, IN_BATCHES, SOLVERS
from .step_cost import cases, step_cost
from .suite import BATCHES, ELSEWHERE, SEED, Case, singles

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(__file__).with_name("page.md")
QUICK = ("mgh/rosenbrock", "logistic-regression")
LIBRARIES = ("torch", "scipy", "pytorch-minimize", "qmm", "numpy")

console = Console(stderr=True)


def sources() -> list[Path]:
    """What measurements depend on: the library, small problems, and all here but the page."""
    here = [p for p in Path(__file__).parent.rglob("*.py") if p.stem not in ("page", "profiles")]
    toy = ROOT / "problems" / "learnmm_problems"
    return [*here, *(ROOT / "learnmm").rglob("*.py"), *toy.glob("*.py")]


def measure_singles(cache: Cache, names: list[str], budget: Budget) -> page.Runs:
    """Every solver on every problem that it can express."""
    make = singles()
    for solver in SOLVERS:
        warm_up(solver, make["quadratic"]())
        warm_up(solver, make["mgh/rosenbrock"]())
    runs: page.Runs = {solver.name: {} for solver in SOLVERS}
    for name in track(names, "single problems", console=console):
        case = with_optimum(make[name](), lambda f, n=name: cache.get(f"reference {n}", f))
        for solver in SOLVERS:
            if solver.suits(case):
                runs[solver.name][name] = cache.get(
                    f"{solver.name} on {name}",
                    lambda s=solver, c=case: measured(s, c, budget)[0],
                )
    return runs


def measure_batches(
    cache: Cache, jobs: list[tuple[str, int]], budget: Budget, jax: Path | None, out: Path
) -> dict[tuple[str, int], dict[str, Any]]:
    """Families of problems in batches; those of JAX in an environment of their own."""
    results: dict[tuple[str, int], dict[str, Any]] = {}
    by_name = {solver.name: solver for solver in SOLVERS}
    for family, size in track(jobs, "batches", console=console):
        case = BATCHES[family](size)
        found = {
            name: cache.get(
                f"{name} on {size} of {family}",
                lambda n=name, c=case: summarized(by_name[n], c, budget),
            )
            for name in IN_BATCHES
        }
        if jax is not None:
            found |= cache.get(
                f"jax on {size} of {family}",
                lambda c=case, f=family: ask_jax(jax, f, c, budget, out),
            )
        results[family, size] = found
    return results


def ask_jax(python: Path, family: str, case: Case, budget: Budget, out: Path) -> dict[str, Any]:
    """Hand a batch over in a file, and have it solved by the other environment."""
    question, answer = out / "question.json", out / "answer.json"
    content: dict[str, Any] = {
        "family": family,
        "x0": case.x0.tolist(),
        "optimum": case.optimum.tolist(),
        "initial": case.objective(case.x0).tolist(),
        "seconds": budget.seconds,
        "evaluations": budget.evaluations,
    }
    if family == "logistic-regression":
        fit, ridge = case.objective.parts
        content |= {
            "features": fit.linear.matrix.tolist(),
            "labels": fit.atom.target.tolist(),
            "ridge": float(ridge.weight),
        }
    out.mkdir(parents=True, exist_ok=True)
    question.write_text(json.dumps(content))
    script = Path(__file__).with_name("jax_solvers.py")
    subprocess.run([python, script, question, answer], check=True)
    return json.loads(answer.read_text())


def arguments() -> argparse.Namespace:
    """Settings of a run."""
    parser = pages.arguments("peers", __doc__)
    parser.add_argument("--quick", action="store_true", help="two problems, one small batch")
    parser.add_argument("--seconds", type=float, default=2.0, help="limit of one run")
    parser.add_argument("--evaluations", type=int, default=2000, help="limit of one run")
    parser.add_argument("--batch-seconds", type=float, default=10.0, help="limit of one batch")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 32, 1024])
    parser.add_argument("--repeats", type=int, default=21, help="of the step's cost")
    parser.add_argument("--jax", type=Path, help="a Python with jax, jaxopt and optimistix")
    parser.add_argument("--raw", type=Path, default=Path("out/bench"), help="measurements so far")
    parser.add_argument("--note", default="", help="a sentence for the page")
    settings = parser.parse_args()
    if settings.quick:
        # By evaluations and not by time, so that a busy machine measures the same.
        settings.seconds = settings.batch_seconds = 60.0
        settings.evaluations, settings.sizes, settings.repeats = 100, [8], 3
    return settings


def command(settings: argparse.Namespace) -> str:
    """What to type for this run, without the sentence and without folders."""
    given = ["--quick"] if settings.quick else []
    for name in ("seconds", "batch_seconds", "evaluations", "repeats"):
        given += [f"--{name.replace('_', '-')}", f"{getattr(settings, name):g}"]
    return " ".join(["python -m benchmarks.peers", *given])


def main() -> None:
    """Print the page and write it down."""
    settings = arguments()
    repeats = settings.repeats
    torch.set_num_threads(1)
    names = list(QUICK) if settings.quick else list(singles())
    families = [name for name in BATCHES if name in QUICK] if settings.quick else list(BATCHES)
    jobs = [(family, size) for family in families for size in settings.sizes]
    budget = Budget(settings.seconds, settings.evaluations)
    batch_budget = Budget(settings.batch_seconds, settings.evaluations)
    versions = {name: version(name) for name in LIBRARIES}
    header = {
        "seconds": settings.seconds,
        "batch_seconds": settings.batch_seconds,
        "evaluations": settings.evaluations,
        "repeats": settings.repeats,
        "versions": versions,
        "processor": processor(),
        "sources": fingerprint(sources()),
    }
    cache = Cache(settings.raw / ("quick.json" if settings.quick else "peers.json"), header)
    runs = measure_singles(cache, names, budget)
    results = measure_batches(cache, jobs, batch_budget, settings.jax, settings.raw)
    steps = dict(list(cases().items())[:2]) if settings.quick else cases()
    costs = {
        name: cache.get(f"step of {name}", lambda c=case: step_cost(*c, repeats))
        for name, case in track(steps.items(), "cost of a step", console=console)
    }
    ours = [solver.name for solver in SOLVERS if solver.ours]
    picture = settings.output.with_suffix(".png")
    costs_of = {"evaluations to 1e-6": page.evaluations, "time to 1e-6": page.seconds}
    profiles.draw(
        picture,
        [
            (title, lambda solver, problem, c=cost: c(runs[solver][problem]["hits"][page.MAIN]))
            for title, cost in costs_of.items()
        ],
        [solver for solver, found in runs.items() if len(found) == len(names)],
        ours,
        names,
    )
    stated = ", ".join(f"{name} {number}" for name, number in versions.items())
    text = TEMPLATE.read_text().format(
        command=command(settings),
        seconds=settings.seconds,
        batch_seconds=settings.batch_seconds,
        budget=settings.evaluations,
        hardware=f"{processor()}, one core",
        versions=stated,
        seed=SEED,
        note=f" {settings.note}" if settings.note else "",
        elsewhere=", ".join(sorted(ELSEWHERE)),
        product=PRODUCT_WORK,
        sample=SAMPLE,
        baseline=BASELINE,
        picture=picture.name,
        goals="\n".join(page.goals(runs, ours, results, costs)),
        overview="\n".join(page.overview(runs)),
        lost="\n".join(page.lost(runs, ours, names)),
        evaluations="\n".join(page.by_problem(runs, names, page.evaluations)),
        milliseconds="\n".join(page.by_problem(runs, names, page.milliseconds)),
        batches="\n".join(page.batches(results)),
        jax=page.on_jax(results),
        steps="\n".join(page.steps(costs)),
    )
    pages.write([text.rstrip(), ""], settings.output)


def stay_on_one_core() -> None:
    """Keep this process, and those it starts, on one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    stay_on_one_core()
    main()
