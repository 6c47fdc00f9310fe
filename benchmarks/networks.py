"""A small network trained by `lmm.optim.ProjectedMM` and by the optimizers of torch.

Digits of scikit-learn, a network of one hidden layer, float32; minibatches of 128 and all data at
once. Everyone may call the closure equally often. Rates of torch's optimizers are tried on a grid,
and all rows stay. ``python -m benchmarks.networks`` prints the table and writes
``benchmarks/results/networks.md``.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import learnmm as lmm
from benchmarks.pages import arguments, made_by, table, write
from learnmm_problems.bundled import digits

SEEDS = (0, 1, 2)
CALLS = 720
"""Closure calls of a run: 60 passes over the data in minibatches of 128."""

TRAINING = 1500
SIZES = (128, TRAINING)

UNITS = (292, 965)
"""Of the two hidden layers of the networks that are timed: 1e5 and 1e6 parameters."""

LOSSES = ("batch", "optimizer", "training loss", "test accuracy", "raised", "seconds")
COSTS = ("parameters", "batch", "ProjectedMM, ms", "LBFGS, ms", "ratio")

ROUNDS = 15
"""Calls of each optimizer to time, after as many that fill the memories."""

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def optimizers() -> dict[str, Make]:
    """Rows of the table."""
    ours: dict[str, Make] = {
        "ProjectedMM": lmm.optim.ProjectedMM,
        "ProjectedMM, 20 a step": lambda p: lmm.optim.ProjectedMM(
            p, settings=lmm.SolveSettings(max_iter=20)
        ),
        "ProjectedMM, secant": lambda p: lmm.optim.ProjectedMM(p, curvature="secant"),
        "ProjectedMM, hessian": lambda p: lmm.optim.ProjectedMM(p, curvature="hessian"),
    }
    torchs: dict[str, Make] = {
        f"Adam, lr {lr:g}": lambda p, lr=lr: torch.optim.Adam(p, lr) for lr in (1e-3, 1e-2, 1e-1)
    }
    torchs |= {
        f"SGD, momentum 0.9, lr {lr:g}": lambda p, lr=lr: torch.optim.SGD(p, lr, momentum=0.9)
        for lr in (1e-2, 1e-1, 1.0)
    }
    torchs |= {
        f"LBFGS, strong Wolfe, {n} a step": lambda p, n=n: torch.optim.LBFGS(
            p, max_iter=n, line_search_fn="strong_wolfe"
        )
        for n in (1, 20)
    }
    return ours | torchs


def network(seed: int) -> nn.Sequential:
    """One hidden layer of 32 units."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


@cache
def data() -> tuple[Tensor, Tensor]:
    """Images with entries in [0, 1], and what they show."""
    images, labels = digits("networks")
    return images.float(), labels


def minibatches(size: int, seed: int) -> Iterator[Tensor]:
    """Indices, pass after pass in a new order."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(TRAINING, generator=generator).split(size)


class Run(NamedTuple):
    """Where a run ended, and on the way."""

    loss: float  # on all training data
    accuracy: float  # on the others
    raised: float  # share of steps after which the loss of their own minibatch was higher
    seconds: float  # within steps


def train(make: Make, size: int, seed: int) -> Run:
    """Take steps until the closure has been called often enough."""
    images, labels = data()
    model = network(seed)
    optimizer = make(model.parameters())
    calls = steps = raised = 0
    seconds = 0.0
    for indices in minibatches(size, seed):

        def loss(at: Tensor = indices) -> Tensor:
            return cross_entropy(model(images[at]), labels[at])

        def closure(loss: Callable[[], Tensor] = loss) -> Tensor:
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            value = loss()
            if not isinstance(optimizer, lmm.optim.ProjectedMM):
                value.backward()
            return value

        with torch.no_grad():
            before = float(loss())
        begin = time.perf_counter()
        optimizer.step(closure)
        seconds += time.perf_counter() - begin
        with torch.no_grad():
            raised += not float(loss()) <= before
        steps += 1
        if calls >= CALLS:
            break
    with torch.no_grad():
        fit = float(cross_entropy(model(images[:TRAINING]), labels[:TRAINING]))
        right = (model(images[TRAINING:]).argmax(1) == labels[TRAINING:]).double().mean()
    return Run(fit, float(right), raised / steps, seconds)


def row(name: str, size: int) -> str:
    """Medians over seeds."""
    runs = [train(optimizers()[name], size, seed) for seed in SEEDS]
    loss, accuracy, raised, seconds = (
        statistics.median(values) for values in zip(*runs, strict=True)
    )
    return f"| {size} | {name} | {loss:.2g} | {accuracy:.1%} | {raised:.1%} | {seconds:.2f} |"


def wide(units: int) -> nn.Sequential:
    """Two hidden layers."""
    torch.manual_seed(0)
    sizes = (64, units, units, 10)
    layers: list[nn.Module] = []
    for fed, given in itertools.pairwise(sizes):
        layers += [nn.Linear(fed, given), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Cost(NamedTuple):
    """Of one call of an optimizer, with the two evaluations that it needs."""

    parameters: int
    size: int
    ours: float  # milliseconds
    lbfgs: float
    ratio: float  # median over pairs of calls, one beside the other


def cost(units: int, size: int, rounds: int) -> Cost:
    """Time calls of `ProjectedMM` and of `LBFGS` in turn; those with more evaluations do not count.

    Both keep 10 pairs and see the same minibatches, one per call.
    """
    images, labels = data()
    makes: list[Make] = [
        lmm.optim.ProjectedMM,
        lambda p: torch.optim.LBFGS(p, max_iter=1, history_size=10, line_search_fn="strong_wolfe"),
    ]
    models = [wide(units) for _ in makes]
    optimizers = [make(model.parameters()) for make, model in zip(makes, models, strict=True)]
    times: list[tuple[float, float]] = []
    for number, indices in enumerate(minibatches(size, seed=0)):
        spent, evaluations = [], []
        for model, optimizer in zip(models, optimizers, strict=True):
            calls = itertools.count()

            def closure(
                model: nn.Module = model,
                optimizer: torch.optim.Optimizer = optimizer,
                calls: Iterator[int] = calls,
                at: Tensor = indices,
            ) -> Tensor:
                next(calls)
                optimizer.zero_grad()
                value = cross_entropy(model(images[at]), labels[at])
                value.backward()
                return value

            begin = time.perf_counter()
            optimizer.step(closure)
            spent.append(1e3 * (time.perf_counter() - begin))
            evaluations.append(next(calls))
        if number >= rounds and evaluations == [2, 2]:
            times.append((spent[0], spent[1]))
        if len(times) == rounds or number > 10 * rounds:
            break
    ours, lbfgs = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    return Cost(sum(p.numel() for p in models[0].parameters()), size, ours, lbfgs, ratio)


def cost_row(units: int, size: int) -> str:
    """Of the table of times."""
    c = cost(units, size, ROUNDS)
    return f"| {c.parameters} | {c.size} | {c.ours:.1f} | {c.lbfgs:.1f} | {c.ratio:.2f} |"


def main() -> None:
    """Print the table and write it down."""
    output: Path = arguments("networks", __doc__).parse_args().output
    torch.set_num_threads(1)
    write(
        [
            "# Training a small network",
            "",
            f"{made_by('networks', ', '.join(map(str, SEEDS)))}, float32.",
            "",
            f"Digits of scikit-learn ({TRAINING} to train on, 297 to test), 64-32-10 units with "
            f"tanh, cross entropy. Each run calls the closure {CALLS} times, refusals included; "
            "`ProjectedMM` needs two calls a step, and Hessian products of `hessian`, about 15 a "
            "step, come on top. Raised: steps after which the loss of their own minibatch was "
            "higher than before. Medians over seeds.",
            "",
            *table(LOSSES, (row(name, size) for size in SIZES for name in optimizers())),
            "## Time of one call",
            "",
            "Two hidden layers, 10 pairs, two evaluations of the closure in each call, in turn "
            "with `LBFGS` (strong Wolfe, 1 a step) in one process; medians, and the median of the "
            f"ratios of {ROUNDS} pairs of calls. What a call of `ProjectedMM` costs whatever the "
            "size shows where the closure is quick.",
            "",
            *table(COSTS, (cost_row(units, size) for units in UNITS for size in SIZES)),
        ],
        output,
    )


if __name__ == "__main__":
    main()
