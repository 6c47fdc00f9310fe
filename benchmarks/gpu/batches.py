"""Many small problems at once: how long until all are solved, and what a verified step costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from benchmarks.functions import rosenbrock
from benchmarks.gpu.timing import seconds
from benchmarks.pages import line, table
from learnmm.objective import differentiate

SEED = 3
UNKNOWNS = (2, 10, 50)
WAYS: tuple[Any, ...] = (False, "loop")


def starts(batch: int, unknowns: int, device: str) -> Tensor:
    """Around the usual start, float64."""
    generator = torch.Generator().manual_seed(SEED)
    usual = torch.tensor([-1.2, 1.0], dtype=torch.float64).repeat(unknowns // 2)
    away = 0.1 * torch.randn(batch, unknowns, generator=generator, dtype=torch.float64)
    return (usual + away).to(device)


def batches(device: str, sizes: tuple[int, ...], repeats: int) -> list[str]:
    """A row for every size and number of unknowns, step by step and as one graph."""
    rows = []
    for unknowns in UNKNOWNS:
        for batch in sizes:
            x0, cells = starts(batch, unknowns, device), []
            for way in WAYS:
                took, result = solved(x0, way, device, repeats)
                monotone = bool(result.certificate.monotone.all())
                done = float(result.success.double().mean())
                cells += [f"{1e3 * took:.0f}", f"{100 * done:.1f} %", _yes(monotone)]
            rows.append(line([str(unknowns), f"{batch:,}", *cells]))
    head = ["unknowns", "problems"]
    for name in ("step by step", "one graph"):
        head += [f"{name}, ms", "success", "monotone"]
    return table(head, rows)


def solved(x0: Tensor, way: Any, device: str, repeats: int) -> tuple[float, lmm.Result]:
    """Seconds until all have stopped, and the last of the results."""
    solver = lmm.ProjectedMMOptimizer(rosenbrock, proposer=lmm.proposers.BFGS())
    results: list[lmm.Result] = []

    def once() -> None:
        results.append(solver.minimize(x0, compiled=way))

    return seconds(once, device, repeats), results[-1]


@torch.no_grad()
def steps(device: str, sizes: tuple[int, ...], repeats: int) -> list[str]:
    """A verified step of BFGS, by default, over value and gradient alone."""
    rows = []
    for unknowns in UNKNOWNS:
        for batch in sizes:
            x0 = starts(batch, unknowns, device)
            solver = lmm.ProjectedMMOptimizer(rosenbrock, proposer=lmm.proposers.BFGS())
            state = solver.init(x0)
            for _ in range(12):  # the memory has filled
                state, _ = solver.step(state)
            step = seconds(lambda solver=solver, state=state: solver.step(state), device, repeats)
            alone = seconds(
                lambda x=state.x: differentiate(lambda z: (rosenbrock(z), ()), x), device, repeats
            )
            cells = [f"{1e3 * step:.2f}", f"{1e3 * alone:.2f}", f"{step / alone:.1f}"]
            rows.append(line([str(unknowns), f"{batch:,}", *cells]))
    return table(["unknowns", "problems", "step, ms", "value and gradient, ms", "ratio"], rows)


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
