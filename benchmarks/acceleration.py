"""Which acceleration wins: momentum, memory gradient, limited memory, or none.

Four tables from one run:

1. the 35 functions of More, Garbow and Hillstrom from their standard starts: how many are solved to
   1e-6 of the least value, in how many evaluations, against torch's L-BFGS (strong Wolfe);
2. a batch of 1024 around each start at once, against a loop over L-BFGS;
3. a matrix of BFGS beside limited memory, by the number of unknowns: evaluations, and what a step
   takes for one problem and for 1024;
4. deblurring with a matrix-free operator: evaluations and time to the same energy.

``python -m benchmarks.acceleration`` prints them and writes ``benchmarks/results/acceleration.md``.
Rules that lost live here only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import learnmm as lmm
from benchmarks.functions import rosenbrock
from benchmarks.pages import arguments, line, made_by, table, write
from benchmarks.timing import paired_times, ratio
from learnmm.proposers.bfgs import FEW
from learnmm.vectors import dot, expand
from learnmm_problems.mgh import FUNCTIONS, MGHProblem

SEED = 11
GAP = 1e-6
RULES = ("rule", "solved of 35", "evaluations in all", "share refused", "monotone", "seconds")
STARTS = ("function", "unknowns", "solved, L-BFGS", "solved, learnmm")
STARTS += ("loop, s", "batch, s", "ratio", "monotone")
MATRICES = ("unknowns", "starts", "evaluations", "one problem", "1024 problems")
DEBLURRING = ("rule", "there", "steps", "refused", "seconds", "gap at the end")
SIZES = (2, 4, 8, 16, 24, 32, 48, 64)
MEMORIES = {"BFGS": lmm.proposers.DenseBFGS, "LimitedMemory": lmm.LimitedMemory}
BATCHED = ("rosenbrock", "helical-valley", "wood", "osborne-2", "broyden-banded")
console = Console(stderr=True)


class Whole(lmm.Proposer):
    """Whole steps, tried and limited as those of limited memory."""

    trials = lmm.LimitedMemory.trials
    reach = lmm.LimitedMemory.reach
    curvature_from_steps = True


class Momentum(Whole):
    """``B^+ g - beta (x - x_prev)``, ``beta = k / (k + 3)``, restarted when it climbs.

    The weights of Beck & Teboulle (2009) and the restart of O'Donoghue & Candes (2015), at the
    only gradient that the loop evaluates.
    """

    def init_memory(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start, the last move, and moves since the last restart."""
        return x, torch.zeros_like(x), x.new_zeros(len(x))

    def observe(self, point: lmm.Point, memory: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Take the move to this iterate; the start is none."""
        before, _, age = memory
        move = point.x - before
        moved = (move != 0).flatten(1).any(1)
        return point.x, move, torch.where(dot(point.gradient, move) > 0, 0.0, age + moved)

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Step:
        """Heavy ball."""
        _, move, age = memory
        step = point.curvature.solve(point.gradient) - expand(age / (age + 3), move) * move
        return lmm.Step(step)


class MemoryGradient(Whole):
    """Minimizer of a quadratic majorant on the span of gradient and last step.

    3MG (Chouzenoux, Idier & Moussaoui 2011; Chouzenoux et al. 2013), with products ``B v`` of a
    curvature that is too large to invert.
    """

    def __init__(self, product: Callable[[Tensor], Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.product = product

    def init_memory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Start, and the last move."""
        return x, torch.zeros_like(x)

    def observe(self, point: lmm.Point, memory: Any) -> tuple[Tensor, Tensor]:
        """Take the move to this iterate."""
        return point.x, point.x - memory[0]

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Step:
        """Solve the system of two unknowns."""
        move = memory[1]
        span = torch.stack([point.gradient, move], 1)  # (B, 2, *shape)
        bent = torch.stack([self.product(point.x)(v) for v in span.unbind(1)], 1)
        flat = span.flatten(2)
        gram = flat @ bent.flatten(2).mT
        slopes = flat @ point.gradient.flatten(1)[:, :, None]
        weights = torch.linalg.pinv(gram, hermitian=True, rtol=1e-10) @ slopes
        return lmm.Step((weights.mT @ flat).reshape(point.x.shape))


class Ends(NamedTuple):
    """Where a solver ended on a batch: values, evaluations each, whether all were monotone."""

    values: Tensor
    evaluations: Tensor
    refused: float
    monotone: bool


def lbfgs(fun: Callable[[Tensor], Tensor], x0: Tensor, budget: int, history: int) -> Ends:
    """L-BFGS of torch with a strong Wolfe line search, problem by problem."""
    values, counts, monotone = [], [], True
    for start in x0:
        x, seen = start[None].clone().requires_grad_(), []
        optimizer = torch.optim.LBFGS(
            [x], max_iter=budget, max_eval=budget, history_size=history, tolerance_grad=1e-9,
            tolerance_change=0, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(x: Tensor = x, seen: list[float] = seen) -> Tensor:
            optimizer.zero_grad()  # noqa: B023 - called before the next start
            value = fun(x).sum()
            value.backward()
            seen.append(float(value))
            return value

        optimizer.step(closure)
        end = fun(x.detach())
        monotone &= bool(end <= seen[0])
        values.append(end)
        counts.append(len(seen))
    return Ends(torch.cat(values), torch.tensor(counts), 0.0, monotone)


def ours(optimizer: lmm.ProjectedMMOptimizer, x0: Tensor) -> Ends:
    result = optimizer.minimize(x0)
    refused = float(result.certificate.rejected.sum() / result.iterations.sum().clamp(min=1))
    return Ends(result.fun, result.iterations + 1, refused, bool(result.certificate.monotone.all()))


def solvers(budget: int, own_budget: int) -> dict[str, Callable[[Any, Tensor], Ends]]:
    """Name to solver of an objective from a start."""

    def direction(make: Callable[[], lmm.Proposer]) -> Callable[[Any, Tensor], Ends]:
        return lambda fun, x0: ours(
            lmm.ProjectedMMOptimizer(
                fun, proposer=make(), settings=lmm.SolveSettings(max_iter=budget, gtol=1e-9)
            ),
            x0,
        )

    class Impatient(lmm.LimitedMemory):
        """Without shorter steps after a refusal."""

        trials = 1

    table = {
        f"torch L-BFGS, history {h}": lambda fun, x0, h=h: lbfgs(fun, x0, budget, h)
        for h in (10, 100)
    }
    table[f"own steps, Lanczos (at most {own_budget})"] = lambda fun, x0: ours(
        lmm.ProjectedMMOptimizer(fun, settings=lmm.SolveSettings(max_iter=own_budget, gtol=1e-9)),
        x0,
    )
    table["own steps, secant"] = lambda fun, x0: ours(
        lmm.ProjectedMMOptimizer(
            fun,
            majorant=lmm.majorants.SecantMajorant(fun),
            settings=lmm.SolveSettings(max_iter=budget, gtol=1e-9),
        ),
        x0,
    )
    table["momentum"] = direction(Momentum)
    for history in (5, 10, 20):
        table[f"LimitedMemory({history})"] = direction(lambda h=history: lmm.LimitedMemory(h))
    table["BFGS, a matrix"] = direction(lmm.proposers.DenseBFGS)
    table["LimitedMemory(10), no shortening"] = direction(lambda: Impatient(10))
    return table


def gap(fun: Callable[[Tensor], Tensor], optimum: Tensor, values: Tensor) -> Tensor:
    return (values - optimum) / optimum.abs().clamp(min=1)


def suite(budget: int, own_budget: int) -> list[str]:
    """Table 1."""
    rows = []
    for name, solve in solvers(budget, own_budget).items():
        solved, evaluations, seconds, refused, monotone = 0, 0, 0.0, [], 0
        for function in track(FUNCTIONS, name, console=console):
            drawn = MGHProblem(function).instance(1)
            torch.manual_seed(SEED)
            begin = time.process_time()
            ends = solve(drawn.objective, drawn.x0)
            seconds += time.process_time() - begin
            solved += int((gap(drawn.objective, drawn.optimum, ends.values) < GAP).sum())
            evaluations += int(ends.evaluations.sum())
            refused.append(ends.refused)
            monotone += ends.monotone
        share = f"{sum(refused) / len(refused):.2f}" if "torch" not in name else "-"
        rows.append(f"| {name} | {solved} | {evaluations} | {share} | {monotone} | {seconds:.1f} |")
    return rows


def batches(batch: int, looped: int) -> list[str]:
    """Table 2."""
    rows = []
    for function in track(BATCHED, "batches", console=console):
        generator = torch.Generator().manual_seed(SEED)
        drawn = MGHProblem(function).instance(batch, generator=generator)
        begin = time.process_time()
        theirs = lbfgs(drawn.objective, drawn.x0[:looped], 1000, 10)
        loop = (time.process_time() - begin) * batch / looped
        begin = time.process_time()
        result = lmm.minimize(
            drawn.objective, drawn.x0, settings=lmm.SolveSettings(gtol=1e-9, max_iter=1000)
        )
        together = time.process_time() - begin
        shares = [
            float((gap(drawn.objective, drawn.optimum[: len(v)], v) < GAP).double().mean())
            for v in (theirs.values, result.fun)
        ]
        rows.append(
            f"| {function} | {drawn.x0.shape[1]} "
            f"| {100 * shares[0]:.0f} % | {100 * shares[1]:.0f} % | {loop:.1f} "
            f"| {together:.2f} | {loop / together:.0f} "
            f"| {int(result.certificate.monotone.sum())} of {batch} |"
        )
    return rows


def matrices(starts: int, batch: int) -> list[str]:
    """Table 3: ratios of the matrix to limited memory, in the median over starts and over steps."""
    rows = []
    for unknowns in track(SIZES, "matrices", console=console):
        generator = torch.Generator().manual_seed(SEED)
        x0 = torch.randn(batch, unknowns, generator=generator, dtype=torch.float64)
        limit = lmm.SolveSettings(gtol=1e-6, max_iter=5000)
        counts = [
            lmm.minimize(rosenbrock, x0[:starts], proposer=make(), settings=limit).iterations + 1
            for make in MEMORIES.values()
        ]
        steps = [ratio(*step_times(x, n)) for x, n in ((x0[:1], 201), (x0, 21))]
        shares = (float((counts[0] / counts[1]).median()), *steps)
        rows.append(line([str(unknowns), str(starts), *(f"{share:.2f}" for share in shares)]))
    return rows


def step_times(x0: Tensor, repeats: int, warm: int = 12) -> list[list[float]]:
    """Seconds of a step with either memory, once limited memory is full.

    It is one that updates: not a retry, and not one of a problem that has stopped.
    """
    tasks = []
    for make in MEMORIES.values():
        optimizer = lmm.ProjectedMMOptimizer(
            rosenbrock, proposer=make(), settings=lmm.SolveSettings(gtol=0.0)
        )
        with torch.no_grad():
            state, steps = optimizer.init(x0), 0
            while steps < warm or not (state.running & ~state.asked).any():
                state, _ = optimizer.step(state)
                steps += 1
        tasks.append(torch.no_grad()(lambda o=optimizer, s=state: o.step(s)))
    return paired_times(*tasks, repeats=repeats)


def deblurring(side: int, steps: int) -> list[str]:
    """Table 4: Huber misfit of a blurred image, hyperbolic penalty on differences."""
    generator = torch.Generator().manual_seed(SEED)
    line = torch.exp(-(torch.arange(-6, 7, dtype=torch.float64) ** 2) / 8)
    blur = lmm.linear.convolution(torch.outer(line, line) / line.sum() ** 2, (side, side))
    edge = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    edges = [lmm.linear.convolution(k, (side, side)) for k in (edge[None], edge[:, None])]
    truth = torch.zeros(1, side, side, dtype=torch.float64)
    truth[:, side // 4 : side // 2, side // 4 : -side // 4] = 1
    y = blur(truth) + 0.01 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    fit = lmm.HalfQuadratic(y, "huber", 0.05)
    smooth = lmm.HalfQuadratic(0 * y, "hyperbolic", 0.01)
    energy = fit @ blur + 0.01 * (smooth @ edges[0]) + 0.01 * (smooth @ edges[1])

    def product(x: Tensor) -> Callable[[Tensor], Tensor]:
        """``B v`` of the half-quadratic majorant, without a separable bound of ``A^T C A``."""
        parts = [(1.0, fit, blur), *((0.01, smooth, e) for e in edges)]
        weighted = [(w * atom.curvatures(a(x)), a) for w, atom, a in parts]
        return lambda v: sum(a.adjoint(c * a(v)) for c, a in weighted)

    rules: dict[str, lmm.Proposer | None] = {
        "own steps, separable bound": None,
        "momentum": Momentum(),
        "memory gradient": MemoryGradient(product),
        "LimitedMemory(5)": lmm.LimitedMemory(5),
        "LimitedMemory(10)": lmm.LimitedMemory(10),
    }
    best = lmm.minimize(
        energy,
        y,
        proposer=lmm.LimitedMemory(30),
        settings=lmm.SolveSettings(max_iter=2000, gtol=1e-8),
    )
    target = best.fun + 1e-6 * (best.initial_fun - best.fun)
    rows = []
    for name, rule in track(rules.items(), "deblurring", console=console):
        optimizer = lmm.ProjectedMMOptimizer(
            energy, proposer=rule, settings=lmm.SolveSettings(max_iter=steps, gtol=0.0)
        )
        begin = time.process_time()
        result = optimizer.minimize(
            y, callback=lambda state, _: bool((state.value <= target).all())
        )
        seconds = time.process_time() - begin
        there = bool((result.fun <= target).all())
        rows.append(
            f"| {name} | {'yes' if there else 'no'} | {int(result.iterations)} "
            f"| {int(result.certificate.rejected)} | {seconds:.1f} "
            f"| {float((result.fun - best.fun) / (best.initial_fun - best.fun)):.0e} |"
        )
    return rows


def main() -> None:
    """Print the tables and write them down."""
    parser = arguments("acceleration", __doc__)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--own-budget", type=int, default=40)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--looped", type=int, default=32)
    parser.add_argument("--starts", type=int, default=64)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--steps", type=int, default=600)
    settings = parser.parse_args()
    write(
        [
            "# Acceleration that keeps descent: which rule wins",
            "",
            f"{made_by('acceleration', SEED)}, float64. Seconds are those of the processor.",
            "",
            f"The 35 functions of More, Garbow and Hillstrom from their standard starts, at most "
            f"{settings.budget} evaluations each; solved: within {GAP:g} of the least value, "
            "relative where that exceeds 1. Three of them have another local minimum in the way.",
            "",
            *table(RULES, suite(settings.budget, settings.own_budget)),
            f"{settings.batch} starts around the standard one, `lmm.minimize` on all at once, "
            f"against a loop over L-BFGS (history 10, timed on {settings.looped} of them):",
            "",
            *table(STARTS, batches(settings.batch, settings.looped)),
            "A matrix of BFGS over limited memory with ten pairs, on chained valleys of Rosenbrock "
            "from normal starts: evaluations until no entry of the gradient is above 1e-6, and the "
            "time of a step, in the median. `minimize` takes the matrix up to "
            f"{FEW} unknowns.",
            "",
            *table(MATRICES, matrices(settings.starts, settings.batch)),
            f"An image of {settings.side} x {settings.side} deblurred by products alone, until the "
            "energy is within 1e-6 of the least, relative to the start:",
            "",
            *table(DEBLURRING, deblurring(settings.side, settings.steps)),
            "Momentum and memory gradient lost and are not part of the library. A step of memory "
            "gradient costs products with the majorant on top of the gradient.",
            "",
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
