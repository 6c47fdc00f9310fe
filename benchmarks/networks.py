"""A small network trained by `lmm.optim.ProjectedMM` and by the optimizers of torch.

Digits of scikit-learn, a network of one hidden layer, float32; minibatches of 128 and all data at
once. Everyone may call the closure equally often. Rates of torch's optimizers are tried on a grid,
and all rows stay. ``python benchmarks/networks.py`` prints the table and writes
``benchmarks/results/networks.md``.
"""

from __future__ import annotations

import argparse
import platform
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
from learnmm_problems.toy.bundled import digits

SEEDS = (0, 1, 2)
CALLS = 720
"""Closure calls of a run: 60 passes over the data in minibatches of 128."""

TRAINING = 1500
SIZES = (128, TRAINING)

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def optimizers() -> dict[str, Make]:
    """Rows of the table."""
    ours: dict[str, Make] = {
        "ProjectedMM": lmm.optim.ProjectedMM,
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


def main() -> None:
    """Print the table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/networks.md"))
    output: Path = parser.parse_args().output
    torch.set_num_threads(1)
    page = "\n".join(
        [
            "# Training a small network",
            "",
            f"`python benchmarks/networks.py`, seeds {', '.join(map(str, SEEDS))}, torch "
            f"{torch.__version__}, 1 thread, {platform.machine()}, float32.",
            "",
            f"Digits of scikit-learn ({TRAINING} to train on, 297 to test), 64-32-10 units with "
            f"tanh, cross entropy. Each run calls the closure {CALLS} times, refusals included; "
            "`ProjectedMM` needs two calls a step, and Hessian products of `hessian`, about 15 a "
            "step, come on top. Raised: steps after which the loss of their own minibatch was "
            "higher than before. Medians over seeds.",
            "",
            "| batch | optimizer | training loss | test accuracy | raised | seconds |",
            "|---|---|---|---|---|---|",
            *(row(name, size) for size in SIZES for name in optimizers()),
            "",
        ]
    )
    print(page)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page)


if __name__ == "__main__":
    main()
