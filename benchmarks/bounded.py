"""Problems with bounds, beside SciPy's L-BFGS-B.

Each problem of the suite of `benchmarks.peers` is solved without bounds, and then in two boxes
that cut that solution off: every other unknown may go half of its way from the start, or all may
go nine tenths of theirs. ``python -m benchmarks.bounded`` prints the tables and writes
``benchmarks/results/bounded.md``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

import learnmm as lmm
from benchmarks.pages import arguments, line, made_by, table, write
from benchmarks.peers.recorder import PRODUCT_WORK, Budget, Finished, Recorder
from benchmarks.peers.solvers.learnmm_solvers import counted
from benchmarks.peers.solvers.scipy_solvers import run_lbfgsb
from benchmarks.peers.suite import SEED, Case, singles

LARGEST = 1000
"""Unknowns of the largest problem."""

BUDGET = Budget(seconds=60.0, evaluations=5000)
SOLVED = 1  # place of 1e-6 among the tolerances of the recorder
LONG = 20_000


@dataclass(frozen=True)
class Bounded:
    """A problem in a box."""

    case: Case
    box: str
    lower: Tensor
    upper: Tensor


Solve = Callable[[Bounded, Recorder], Tensor]


def lbfgsb(problem: Bounded, recorder: Recorder, **options: Any) -> Tensor:
    """SciPy's, its tolerances switched off; returns where it ends."""
    options = {"maxiter": LONG, "maxfun": LONG, "ftol": 0.0, "gtol": 0.0, **options}
    box = scipy.optimize.Bounds(problem.lower.reshape(-1), problem.upper.reshape(-1))
    return run_lbfgsb(problem.case, recorder, options, box)


def ours(problem: Bounded, recorder: Recorder) -> Tensor:
    """`lmm.minimize` as it is, its tolerance switched off."""
    objective, own = counted(problem.case, recorder)
    return lmm.minimize(
        objective,
        problem.case.x0,
        bounds=(problem.lower, problem.upper),
        settings=lmm.SolveSettings(max_iter=LONG, gtol=0.0),
        callback=lambda state, _: recorder.iterate(state.value.numpy()),
        **own,
    ).x


def watch(problem: Bounded, optimum: float, budget: Budget) -> Recorder:
    """What counts a run on a problem."""
    case = problem.case
    initial = case.objective(case.x0).detach().numpy()
    return Recorder(initial=initial, optimum=np.array([optimum]), budget=budget)


def least(problem: Bounded) -> tuple[float, Tensor]:
    """Least value that any of three long runs finds, and where."""
    ends = []
    for solve in (lbfgsb, lambda p, r: lbfgsb(p, r, maxcor=50), ours):
        recorder = watch(problem, -math.inf, Budget(BUDGET.seconds, LONG))
        try:
            x = solve(problem, recorder)
        except Finished:
            continue
        ends.append((float(problem.case.objective(x)), x))
    return min(ends, key=lambda end: end[0])


def boxes(case: Case) -> list[Bounded]:
    """Two boxes that the solution without bounds lies outside of."""
    everywhere = torch.full_like(case.x0, torch.inf)
    _, x = least(Bounded(case, "none", -everywhere, everywhere))
    way = x - case.x0
    every_other = torch.arange(way.numel()).reshape(way.shape) % 2 == 0
    near, far = case.x0 + way / 2, case.x0 + 0.9 * way
    half = Bounded(
        case,
        "half",
        torch.where(every_other & (way < 0), near, -everywhere),
        torch.where(every_other & (way > 0), near, everywhere),
    )
    whole = Bounded(case, "all", case.x0 - 0.9 * way.abs(), case.x0 + 0.9 * way.abs())
    return [half, replace(whole, lower=torch.where(way < 0, far, whole.lower),
                          upper=torch.where(way > 0, far, whole.upper))]  # fmt: skip


def run(problem: Bounded, solve: Solve, optimum: float) -> tuple[float, bool]:
    """Evaluations to within 1e-6 of the best, NaN if never, and whether values only fell."""
    recorder = watch(problem, optimum, BUDGET)
    with contextlib.suppress(Finished):
        solve(problem, recorder)
    work = recorder.evaluations[SOLVED, 0] + PRODUCT_WORK * recorder.twice[SOLVED, 0]
    return float(work), bool(recorder.monotone[0])


def rows() -> list[tuple[str, str, int, int, list[tuple[float, bool]]]]:
    """Every problem in both boxes: name, box, unknowns, held at the best, and both runs."""
    found = []
    for name, make in singles().items():
        case = make()
        if case.x0.numel() > LARGEST:
            continue
        case = case.one(0) if case.batch > 1 else case
        for problem in boxes(case):
            best, x = least(problem)
            if not best < float(case.objective(case.x0)):
                continue  # the start is the best there is
            held = int(((x <= problem.lower) | (x >= problem.upper)).sum())
            runs = [run(problem, solve, best) for solve in (ours, lbfgsb)]
            print(name, problem.box, x.numel(), held, runs, flush=True)
            found.append((name, problem.box, x.numel(), held, runs))
    return found


def report(found: list[tuple[str, str, int, int, list[tuple[float, bool]]]]) -> list[str]:
    """The page."""
    shown = [
        line(
            [name, box, str(n), str(held), *("–" if math.isnan(w) else f"{w:.0f}" for w, _ in runs)]
        )
        for name, box, n, held, runs in found
    ]
    both = [runs for *_, runs in found if not any(math.isnan(w) for w, _ in runs)]
    ratios = [a[0] / b[0] for a, b in both]
    summary = []
    for place, solver in enumerate(("learnmm", "L-BFGS-B (SciPy)")):
        mine = [runs[place] for *_, runs in found]
        solved = sum(not math.isnan(w) for w, _ in mine)
        total = sum(runs[place][0] for runs in both)
        falling = sum(monotone for _, monotone in mine)
        summary.append(line([solver, f"{solved} of {len(mine)}", f"{falling}", f"{total:.0f}"]))
    return [
        "# Problems with bounds",
        "",
        f"{made_by('bounded', SEED)}.",
        "",
        "Solved: within 1e-6 of the decrease from the start to the least value that any long run "
        "of either solver found, in at most 5 000 evaluations of value and gradient (a "
        "Hessian-vector product counts as two). Tolerances are switched off.",
        "",
        *table(["solver", "solved", "values only fell", "evaluations where both solve"], summary),
        f"Evaluations of learnmm over those of L-BFGS-B: {np.median(ratios):.2f} in the median, "
        f"geometric mean {math.exp(float(np.mean(np.log(ratios)))):.2f}.",
        "",
        *table(["problem", "box", "unknowns", "at a bound", "learnmm", "L-BFGS-B"], shown),
    ]


def main() -> None:
    """Measure and write the page."""
    settings = arguments("bounded", __doc__).parse_args()
    torch.set_num_threads(1)
    write(report(rows()), settings.output)


if __name__ == "__main__":
    main()
