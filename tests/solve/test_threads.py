"""Optimizers in several threads: each finds what it finds alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.hessian import hessian_product
from learnmm.unroll.implicit import implicit_gradient

DOUBLE = torch.float64
THREADS, TASKS = 4, 12


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def product(seed: int) -> Tensor:
    x = normal(2, 6, seed=seed)
    return hessian_product(rosenbrock, x)(normal(2, 6, seed=seed + 100))


def minimized(**settings: Any) -> Callable[[int], Tensor]:
    def solve(seed: int) -> Tensor:
        # Generators of their own: the global one is shared, and whoever draws first gets more.
        named = dict(settings)
        if "majorant" in named:
            named["majorant"] = named["majorant"](seed)
        x: Tensor = lmm.minimize(
            rosenbrock, normal(2, 4, seed=seed), settings=lmm.SolveSettings(max_iter=3), **named
        ).x
        return x

    return solve


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def closure(seed: int) -> Tensor:
    x = torch.nn.Parameter(normal(4, seed=seed))
    optimizer = lmm.optim.ProjectedMM([x], history=0)
    for _ in range(3):
        optimizer.step(lambda: rosenbrock(x[None])[0])
    return x.detach()


class Shifted(lmm.Objective):
    """``|x - p|^2 + |x|^4`` with a parameter."""

    def __init__(self, p: Tensor) -> None:
        self.p = p

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        return lmm.objective.CallableObjective(self).evaluate(x)

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.p).square().sum(1) + x.square().sum(1).square()


def implicit(seed: int) -> Tensor:
    p = normal(2, 3, seed=seed).requires_grad_()
    objective = Shifted(p)
    x = lmm.minimize(Shifted(p.detach()), torch.zeros(2, 3, dtype=DOUBLE)).x
    implicit_gradient(objective, x).sum().backward()
    assert p.grad is not None
    return p.grad


TASK: dict[str, Callable[[int], Tensor]] = {
    "products": product,
    "default steps": minimized(),
    "secants": minimized(
        majorant=lambda _: lmm.majorants.SecantMajorant(rosenbrock), proposer=None
    ),
    "lanczos": minimized(
        majorant=lambda seed: lmm.majorants.LanczosMajorant(rosenbrock, generator=generator(seed)),
        proposer=None,
    ),
    "power iteration": minimized(
        majorant=lambda seed: lmm.majorants.PowerIterationMajorant(
            rosenbrock, generator=generator(seed)
        ),
        proposer=None,
    ),
    "closures": closure,
    "implicit": implicit,
}


@pytest.mark.parametrize("name", TASK)
def test_threads_find_what_each_finds_alone(name: str) -> None:
    task = TASK[name]
    expected = [task(seed) for seed in range(TASKS)]
    together = threading.Barrier(THREADS)

    def started(part: int) -> list[tuple[int, Tensor]]:
        together.wait(timeout=60)
        return [(seed, task(seed)) for seed in range(part, TASKS, THREADS)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = [pair for pairs in pool.map(started, range(THREADS)) for pair in pairs]
    assert len(found) == TASKS
    for seed, x in found:
        assert torch.equal(x, expected[seed])


def test_products_do_not_meet() -> None:
    """Each waits inside the function for the other, which must not be let in."""
    inside, met = threading.Event(), []

    def slow(x: Tensor) -> Tensor:
        met.append(inside.is_set())
        inside.set()
        threading.Event().wait(0.05)
        inside.clear()
        return (x**4).sum(1)

    x = normal(1, 3)
    workers = [
        threading.Thread(target=lambda: hessian_product(slow, x, "forward")(x)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(met) == 3
    assert not any(met)


def test_a_function_may_take_products_of_its_own() -> None:
    """Forward mode inside forward mode, in one thread: the lock must let it in."""
    one = torch.ones(1, 2, dtype=DOUBLE)
    twelve = hessian_product(lambda z: (z**4).sum(1), one)(one)

    def outer(x: Tensor) -> Tensor:
        inner = hessian_product(lambda z: (z**4).sum(1), one, "forward")(one)
        return (inner * x**2).sum(1)

    done: list[Tensor] = []
    worker = threading.Thread(
        target=lambda: done.append(hessian_product(outer, one, "forward")(one)), daemon=True
    )
    worker.start()
    worker.join(timeout=60)
    assert torch.equal(done[0], 2 * twelve)
