"""Train the learned quasi-Newton method that learnmm ships, by counting evaluations.

Evaluations to 1e-3 and 1e-6 of the gap are counted on random problems of thirteen families
(``random_families.py``), refused steps included; nothing is unrolled. Every weight of
`lmm.proposers.LearnedQuasiNewton` that may move is moved to both sides, on the same problems; then
the moves that helped are tried together, and all of them to a fraction, and what is best is kept.
So twice. Problems of another seed then choose between what was found, parts of it, and one
constant. Evolution strategies, tried first, drown in noise at this price of a count.

``python examples/toy/quasi_newton.py`` writes ``out/quasi_newton/weights.safetensors`` and the
table ``examples/toy/results/quasi_newton.md``. It takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from random_families import FAMILIES, Fun, drawn
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm.proposers import LearnedQuasiNewton, Rule

TRAINING, VALIDATION = (11, 12), (21,)
"""Seeds of problems."""

BATCH = 8
"""Problems of a family and a size that are drawn together."""

GAPS, SHARES = (1e-3, 1e-6), (0.35, 0.65)
"""Tolerances, and their shares of the loss."""

HISTORY = 32
"""Pairs of quasi-Newton."""

LIMIT, UNKNOWNS = 75, 30
"""Batches that need more evaluations, or have more unknowns, only validate."""

ROUNDS, SINGLES = 2, 5
"""Of moves, and how many of the best of them are tried together."""

FRACTIONS = (0.15, 0.3, 0.5, 0.75, 1.0)
"""Of the way that parabolas say, tried for all weights together."""

PARTS, JOINED = (0.25, 0.5, 1.0), 1.0
"""Of what was found, and the constant of `JOIN` that is tried alone, on problems of other seeds."""

CERTAIN = 1.5
"""Standard errors from which on a difference between both sides is taken as it is."""

OLDER, CHANGE, PACE, TRUST, JOIN = range(5)
"""Outputs of `Rule.keep`."""

MOVES: dict[tuple[str, int], tuple[float, dict[int, float]]] = {
    ("keep", OLDER): (0.1, {0: 0.1, 7: 0.1}),
    ("keep", CHANGE): (0.25, {0: 0.2, 1: 0.25, 2: 0.15, 7: 0.25}),
    ("keep", PACE): (1.5, {}),
    ("keep", TRUST): (1.0, {7: 0.7}),
    ("keep", JOIN): (0.7, {0: 0.7, 1: 1.0, 4: 0.7, 5: 0.4, 7: 0.7, 8: 0.7}),
    ("plan", 0): (
        0.2,
        {0: 0.2, 1: 0.2, 2: 0.1, 3: 0.15, 7: 0.2, 9: 0.2, 10: 0.12, 11: 0.12, 12: 0.2},
    ),
}
"""How far the weights that may move are moved: of an output its bias, and those of its features."""


@dataclass
class Problems:
    """A batch of problems of a family, with what is known about them."""

    fun: Fun
    x0: Tensor
    family: str
    initial: Tensor
    optimum: Tensor
    known: Tensor
    limit: int

    def hits(self, values: Tensor) -> Tensor:
        """Evaluations to each tolerance, ``(tolerances, B)``, from values along runs.

        Half of the number is as it is counted and half interpolated, so that it tells a little
        progress from none. What is not reached costs 1.3 to 2 times the limit.
        """
        copies = values.shape[1] // len(self.x0)
        optimum, initial = self.optimum.repeat(copies), self.initial.repeat(copies)
        gap = ((values - optimum) / (initial - optimum)).clamp(min=1e-12).log().cummin(0)[0]
        found = []
        for tolerance in map(math.log, GAPS):
            reached = gap <= tolerance
            first = reached.float().argmax(0)
            here = gap.gather(0, first[None])[0]
            before = gap.gather(0, (first - 1).clamp(min=0)[None])[0]
            part = ((before - tolerance) / (before - here).clamp(min=1e-9)).clamp(0, 1)
            count = first + torch.where(first > 0, part + 1, 2.0) / 2
            missed = 1.3 + 0.7 * ((gap[-1] - tolerance) / -tolerance).clamp(0, 1)
            found.append(torch.where(reached.any(0), count, missed * self.limit))
        return torch.stack(found)


class Stacked(nn.Module):
    """Linear layers of many candidates, each for its own part of a batch."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, inputs: Tensor) -> Tensor:
        """``(P B, inputs)`` to ``(P B, outputs)``."""
        apart = inputs.reshape(len(self.weight), -1, inputs.shape[1])
        return torch.baddbmm(self.bias[:, None], apart, self.weight.mT).reshape(len(inputs), -1)


def population(candidates: Tensor) -> Rule:
    """One rule that acts as candidates ``(P, weights)``, in turn over equal parts of a batch."""
    rule = Rule()
    sizes = [p.numel() for p in rule.parameters()]
    parts = [
        part.reshape(len(candidates), *p.shape)
        for part, p in zip(candidates.split(sizes, 1), rule.parameters(), strict=True)
    ]
    rule.keep, rule.plan = Stacked(*parts[:2]), Stacked(*parts[2:])
    return rule


@torch.no_grad()
def values(fun: Fun, x: Tensor, proposer: LearnedQuasiNewton, target: Tensor, limit: int) -> Tensor:
    """Objective along a run, ``(steps + 1, B)``; one evaluation lies between two of them."""
    settings = lmm.SolveSettings(max_iter=limit, gtol=0.0)
    optimizer = lmm.ProjectedMMOptimizer(fun, proposer=proposer, settings=settings)
    state = optimizer.init(x)
    seen = [state.value]
    while len(seen) <= limit and not bool((state.value <= target).all()):
        state, _ = optimizer.step(state)
        seen.append(state.value)
    return torch.stack(seen)


def prepared(seed: int) -> list[Problems]:
    """Problems of all families and sizes; two solvers have to agree on their optimum."""
    found = []
    for family, sizes in FAMILIES.items():
        for n in sizes:
            fun, x0 = drawn(family, seed, BATCH, n)
            settings = lmm.SolveSettings(max_iter=1200)
            one, other = (
                lmm.minimize(fun, x0, proposer=proposer, settings=settings)
                for proposer in (lmm.LimitedMemory(50), LearnedQuasiNewton(Rule()))
            )
            optimum, initial = torch.minimum(one.fun, other.fun), one.initial_fun
            apart = (one.fun - other.fun).abs()
            known = (apart <= 1e-7 * (initial - optimum)) & (initial > optimum)
            limit = int(min(160, 1.4 * int(other.iterations.max()) + 12))
            if bool(known.any()):
                found.append(Problems(fun, x0, family.__name__, initial, optimum, known, limit))
    return found


def losses(candidates: Tensor, problems: Problems) -> Tensor:
    """Mean logarithm of evaluations of every candidate, per tolerance: ``(tolerances, P)``."""
    count, batch = len(candidates), len(problems.x0)

    def fun(x: Tensor) -> Tensor:
        return torch.func.vmap(problems.fun)(x.reshape(count, batch, -1)).reshape(-1)

    target = problems.optimum + GAPS[-1] * (problems.initial - problems.optimum)
    proposer = LearnedQuasiNewton(population(candidates), history=HISTORY)
    run = values(fun, problems.x0.repeat(count, 1), proposer, target.repeat(count), problems.limit)
    hits = problems.hits(run).log().reshape(len(GAPS), count, batch)
    return hits[..., problems.known].mean(2)


def moves() -> Tensor:
    """The moves of single weights, ``(moves, weights)``."""
    found = []
    for (layer, output), (bias, features) in MOVES.items():
        for place, size in {-1: bias, **features}.items():
            rule = Rule().double()
            linear = getattr(rule, layer)
            with torch.no_grad():
                (linear.bias if place < 0 else linear.weight[:, place])[output] = size
            found.append(parameters_to_vector(rule.parameters()).detach())
    return torch.stack(found)


def compared(candidates: Tensor, problems: list[Problems]) -> Tensor:
    """Change of the mean logarithm of evaluations against the first candidate, for every batch of
    problems: ``(batches, tolerances, P)``.
    """
    found = torch.stack([losses(candidates, one) for one in problems])
    return found - found[:, :, :1]


def together(changes: Tensor, alone: Tensor) -> Tensor:
    """What to try after moves of single weights, from changes of the loss ``(batches, 1 + 2 M)``.

    Parabolas through the losses at 0, +1 and -1 have minima, taken within [-1, 1] and less where
    both sides hardly differ; and the best moves are made one, two and more at a time.
    """
    difference = (changes[:, 1::2] - changes[:, 2::2]) / 2
    slope, error = difference.mean(0), difference.std(0) / len(changes) ** 0.5
    up, down = changes[:, 1::2].mean(0), changes[:, 2::2].mean(0)
    bend = torch.maximum((up + down).clamp(min=0), slope.abs()).clamp(min=1e-6)
    sure = (slope.abs() / (CERTAIN * error).clamp(min=1e-12)).clamp(max=1)
    way = (-slope / bend).clamp(-1, 1) * sure @ alone
    best = torch.minimum(up, down).argsort()[:SINGLES]
    singles = torch.where(up < down, 1.0, -1.0)[best, None] * alone[best]
    fractions = torch.tensor(FRACTIONS, dtype=way.dtype)[:, None]
    return torch.cat([0 * way[None], fractions * way, singles.cumsum(0)])


def search(training: list[Problems]) -> tuple[Tensor, list[Tensor]]:
    """The weights, and the changes per tolerance that each round has brought."""
    shares = torch.tensor(SHARES, dtype=torch.float64)[:, None]
    alone, gains = moves(), []
    weights = torch.zeros_like(alone[0])
    both = torch.stack([alone, -alone], 1).flatten(0, 1)
    for _ in range(ROUNDS):
        changes = compared(torch.cat([weights[None], weights + both]), training)
        candidates = weights + together((shares * changes).sum(1), alone)
        found = compared(candidates, training).mean(0)
        best = int((shares * found).sum(0).argmin())
        weights = candidates[best]
        gains.append(found[:, best])
    return weights, gains


def page(sections: dict[str, list[str]], minutes: float) -> str:
    """What was measured, as tables."""
    lines = [
        "# Training of the learned quasi-Newton method",
        "",
        f"`python examples/toy/quasi_newton.py`, torch {torch.__version__}, {hardware()}, "
        f"{minutes:.0f} minutes. Changes of the number of evaluations in percent (geometric means "
        "over problems): of each round, and against the untrained rule.",
        "",
    ]
    for title, rows in sections.items():
        lines += [f"## {title}", "", "| | to 1e-3 | to 1e-6 |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def row(name: str, changes: Tensor) -> str:
    """Changes in percent."""
    return f"| {name} | " + " | ".join(f"{100 * math.expm1(x):+.1f}" for x in changes) + " |"


def main() -> None:
    """Train, and write what was learned and the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("out/quasi_newton"))
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "quasi_newton.md"
    )
    settings = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.monotonic()
    training = [one for seed in TRAINING for one in prepared(seed)]
    training = [one for one in training if one.limit <= LIMIT and one.x0.shape[1] <= UNKNOWNS]
    learned, gains = search(training)
    unseen = [one for seed in VALIDATION for one in prepared(seed)]
    constant = Rule().double()
    with torch.no_grad():
        constant.keep.bias[JOIN] = JOINED
    candidates = {
        "untrained": 0 * learned,
        **{f"{part:g} of what was found": part * learned for part in PARTS},
        "one constant": parameters_to_vector(constant.parameters()).detach(),
    }
    changes = compared(torch.stack([*candidates.values()]), unseen)
    shares = torch.tensor(SHARES, dtype=changes.dtype)
    kept = [*candidates][int((shares @ changes.mean(0)).argmin())]
    sections = {
        "Problems of training": [row(f"round {k}", one) for k, one in enumerate(gains, 1)],
        f"Problems of another seed: kept is {kept}": [
            row(name, changes.mean(0)[:, k]) for k, name in enumerate(candidates)
        ],
    }
    rule = Rule().double()
    vector_to_parameters(candidates[kept], rule.parameters())
    settings.folder.mkdir(parents=True, exist_ok=True)
    notes = {"training": [*TRAINING], "validation": [*VALIDATION], "kept": kept}
    LearnedQuasiNewton(rule.float()).save(settings.folder / "weights.safetensors", notes)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    settings.output.write_text(page(sections, (time.monotonic() - begun) / 60))
    print(settings.output.read_text())


if __name__ == "__main__":
    main()
