"""Unconstrained problems of CUTEst, in the translation of sif2jax, with names from A to M.

Each from its own start in float64, by whoever has 1000 evaluations of value and gradient: a
problem is solved once ``f - f* <= 1e-6 (f0 - f*)``, where ``f*`` is the least value that anybody
found, long runs of L-BFGS-B and of a trust-region Newton method included, and not above the optimum
that CUTEst states. Problems from N on are kept for checks from outside. JAX differentiates, so that
all optimizers are given the same numbers; ours may ask for Hessian-vector products, each of which
counts as two evaluations.

``python -m benchmarks.cutest`` needs an environment with sif2jax (``make bench-cutest``) and writes
``benchmarks/results/cutest.md`` and ``cutest.json``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.optimize
import sif2jax
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.pages import arguments, line, made_by, table, write
from benchmarks.peers.measure import measured
from benchmarks.peers.recorder import NAMES, PRODUCT_WORK, Budget
from benchmarks.peers.solvers import learnmm_solvers, scipy_solvers, torch_solvers
from benchmarks.peers.solvers.base import Solver
from benchmarks.peers.suite import Case
from learnmm.storage import write_file

LAST = "M"
"""First letters of names up to here."""

BUDGET = Budget(seconds=10.0, evaluations=1000)
LONG = 20_000
TIGHT = 1

SOLVERS = (
    Solver("learnmm minimize", learnmm_solvers.minimize(), ours=True),
    Solver("torch LBFGS, strong Wolfe", torch_solvers.lbfgs),
    Solver("SciPy L-BFGS-B", scipy_solvers.lbfgsb),
)


class Functions(NamedTuple):
    """Of one problem, compiled by JAX: arrays in and out."""

    both: Callable[[np.ndarray], tuple[Any, Any]]
    product: Callable[[np.ndarray, np.ndarray], Any]
    hessian: Callable[[np.ndarray], Any]


class Value(torch.autograd.Function):
    """A function of JAX, differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, functions: Functions) -> Tensor:
        """Value, and gradient for later."""
        value, gradient = functions.both(x.detach().numpy())
        ctx.save_for_backward(x, torch.from_numpy(np.array(gradient)))
        ctx.functions = functions
        return torch.tensor(float(value), dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        """Gradient."""
        x, gradient = ctx.saved_tensors
        return outer * Gradient.apply(x, gradient, ctx.functions), None


class Gradient(torch.autograd.Function):
    """Its gradient, which is known where the value is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor, functions: Functions) -> Tensor:
        """Gradient that is known."""
        ctx.save_for_backward(x)
        ctx.functions = functions
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        """Hessian-vector product."""
        (x,) = ctx.saved_tensors
        product = ctx.functions.product(x.detach().numpy(), outer.detach().numpy())
        return torch.from_numpy(np.array(product)), None, None


def functions_of(problem: Any) -> Functions:
    """What JAX makes of a problem."""

    def fun(y: Any) -> Any:
        return problem.objective(y, problem.args)

    return Functions(
        jax.jit(jax.value_and_grad(fun)),
        jax.jit(lambda y, v: jax.jvp(jax.grad(fun), (y,), (v,))[1]),
        jax.jit(jax.hessian(fun)),
    )


def chosen(largest: int) -> list[Any]:
    """Problems by their names and sizes."""
    found = sif2jax.unconstrained_minimisation_problems
    return [p for p in found if "A" <= p.name[0] <= LAST and p.y0.size <= largest]


def case_of(problem: Any) -> tuple[Case, Functions]:
    """A problem as all solvers are given it, its optimum unknown."""
    functions = functions_of(problem)
    x0 = torch.from_numpy(np.array(problem.y0, dtype=np.float64).reshape(-1))[None]

    def objective(x: Tensor) -> Tensor:
        return torch.stack([Value.apply(row, functions) for row in x])

    return Case(problem.name, objective, x0, None, None, lambda _: objective), functions


def least_value(case: Case, functions: Functions) -> float:
    """Where long runs of other methods end."""

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = functions.both(x)
        return float(value), np.array(gradient)

    def hessian(x: np.ndarray) -> np.ndarray:
        matrix = np.array(functions.hessian(x))
        if not np.isfinite(matrix).all():
            raise ValueError("the Hessian is not finite")
        return matrix

    x0 = case.x0[0].numpy()
    options = {"maxiter": LONG, "maxfun": LONG, "ftol": 0, "gtol": 0, "maxcor": 50}
    ends = [scipy.optimize.minimize(both, x0, jac=True, method="L-BFGS-B", options=options).fun]
    for radius in (1.0, 100.0):
        options = {"maxiter": 300, "gtol": 1e-12, "initial_trust_radius": radius}
        try:
            ends.append(
                scipy.optimize.minimize(
                    both,
                    x0,
                    jac=True,
                    hess=hessian,
                    method="trust-exact",
                    options=options | {"max_trust_radius": 1e4},
                ).fun
            )
        except (ValueError, np.linalg.LinAlgError):  # not finite on the way
            continue
    return float(np.nanmin(ends))


def run(problem: Any) -> dict[str, Any]:
    """All solvers on a problem: twice, since what they find may be the least value known."""
    case, functions = case_of(problem)
    least = least_value(case, functions)
    stated = problem.expected_objective_value
    initial = float(case.objective(case.x0)[0])
    if stated is not None and np.isfinite(float(stated)):
        least = min(least, float(stated))
    runs: dict[str, Any] = {}
    for _ in range(2):
        for solver in SOLVERS:
            posed = replace(case, optimum=case.x0.new_tensor([least]))
            runs[solver.name] = measured(solver, posed, BUDGET)[0]
        left = min(one["left"] for one in runs.values())
        if left >= 0:
            break
        least += left * (initial - least)
    return {"unknowns": case.x0.shape[1], "initial": initial, "least": least, "runs": runs}


def again(problem: Any, known: dict[str, Any]) -> dict[str, Any]:
    """What is known of a problem, our own run anew, beside the least value of before."""
    case, _ = case_of(problem)
    posed = replace(case, optimum=case.x0.new_tensor([known["least"]]))
    ours = {s.name: measured(s, posed, BUDGET)[0] for s in SOLVERS if s.ours}
    return known | {"runs": known["runs"] | ours}


def evaluations(one: dict[str, Any], tolerance: int = TIGHT) -> int | None:
    """Until a tolerance was met."""
    hit = one["hits"][tolerance]
    return None if hit is None else hit[1] + PRODUCT_WORK * hit[2]


def summary(found: dict[str, Any]) -> list[str]:
    """How many each solver solves, and how it compares with ours where both do."""
    rows = []
    for solver in SOLVERS:
        runs = [problem["runs"][solver.name] for problem in found.values()]
        ratios = []
        for problem in found.values():
            pair = [evaluations(problem["runs"][s.name]) for s in (SOLVERS[0], solver)]
            if all(pair):
                ratios.append(pair[0] / pair[1])
        solved = [sum(r["hits"][k] is not None for r in runs) for k in range(len(NAMES))]
        monotone = sum(r["monotone"] for r in runs)
        median = "–" if solver.ours else f"{statistics.median(ratios):.2f}"
        rows.append(line([solver.name, *map(str, solved), median, f"{monotone} of {len(runs)}"]))
    head = ["solver", *(f"solved to {name}" for name in NAMES)]
    return table([*head, "our evaluations over its, median", "monotone"], rows)


def details(found: dict[str, Any]) -> list[str]:
    """Evaluations to 1e-6 of every problem."""
    rows = []
    for name, problem in found.items():
        cells = [evaluations(problem["runs"][solver.name]) for solver in SOLVERS]
        facts = [name, str(problem["unknowns"]), f"{problem['least']:.6g}"]
        rows.append(line([*facts, *("–" if cell is None else str(cell) for cell in cells)]))
    return table(["problem", "unknowns", "least value", *(s.name for s in SOLVERS)], rows)


def main() -> None:
    """Run, print, write."""
    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    parser = arguments("cutest", __doc__)
    parser.add_argument("--largest", type=int, default=200, help="unknowns of a problem")
    parser.add_argument("--names", nargs="*", help="of problems, instead of all")
    parser.add_argument("--ours", type=int, help="only our runs anew, up to so many unknowns")
    settings = parser.parse_args()
    problems = [
        p for p in chosen(settings.largest) if not settings.names or p.name in settings.names
    ]
    console = Console(stderr=True)
    stored = settings.output.with_suffix(".json")
    found: dict[str, Any] = {} if settings.ours is None else json.loads(stored.read_text())
    for p in track(problems, "problems", console=console):
        if settings.ours is None:
            found[p.name] = run(p)
        elif p.y0.size <= settings.ours:
            found[p.name] = again(p, found[p.name])
    later = f"Our runs up to {settings.ours} unknowns are of a later run than the others."
    page = [
        "# Unconstrained problems of CUTEst",
        "",
        f"{made_by('cutest', 'none')}, jax {jax.__version__}, sif2jax; {len(found)} problems with "
        f"names from A to {LAST} and at most {settings.largest} unknowns, "
        f"{BUDGET.evaluations} evaluations each.",
        *([] if settings.ours is None else ["", later]),
        "",
        *summary(found),
        "Evaluations until a share of 1e-6 of the gap is left; – where none was reached.",
        "",
        *details(found),
    ]
    write(page, settings.output)
    write_file(stored, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main()
