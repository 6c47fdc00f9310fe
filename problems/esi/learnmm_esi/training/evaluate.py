"""Evaluate a method: the metrics of Table I, and what the certificate says, at several horizons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import learnmm as lmm
from learnmm.solve.result import Tally
from learnmm_esi.metrics import Evaluator, SourceMetrics
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.simulation.samples import Sample
from learnmm_esi.simulation.simulator import PatchSimulator

BATCH = 32


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a method did on a test set.

    Attributes
    ----------
    metrics : dict of int to SourceMetrics
        By number of steps.
    monotone, rejected, worst_increase : dict of int to ndarray, shape (samples,)
        By number of steps: whether no step raised the energy, the share of steps refused, the
        largest increase of one step (minus infinity where no step was taken).
    clipped : ndarray, shape (samples,)
        Share of multipliers that the projection changed, over all steps.
    energy, data_term, prior_term : ndarray, shape (steps + 1, samples)
        Along the iterations; the prior term without its weight.
    """

    metrics: dict[int, SourceMetrics]
    monotone: dict[int, NDArray[np.bool_]]
    rejected: dict[int, NDArray[np.float64]]
    worst_increase: dict[int, NDArray[np.float64]]
    clipped: NDArray[np.float64]
    energy: NDArray[np.float64]
    data_term: NDArray[np.float64]
    prior_term: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """Means with their standard errors, as plain values."""
        rows = {}
        for steps, metrics in self.metrics.items():
            row: dict[str, Any] = {}
            for f in fields(SourceMetrics):
                values = getattr(metrics, f.name)
                row[f.name] = float(values.mean())
                row[f"{f.name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values)))
            worst = self.worst_increase[steps]
            row["monotone"] = float(self.monotone[steps].mean())
            row["rejected"] = float(self.rejected[steps].mean())
            row["worst_increase"] = float(worst[np.isfinite(worst)].max(initial=-1.0))
            rows[str(steps)] = row
        return {
            "samples": self.energy.shape[1],
            "clipped": float(self.clipped.mean()),
            "steps": rows,
            "energy": self.energy.mean(1).tolist(),
            "data_term": self.data_term.mean(1).tolist(),
            "prior_term": self.prior_term.mean(1).tolist(),
        }


@torch.no_grad()
def evaluate(
    solver: SourceSolver,
    simulator: PatchSimulator,
    samples: int,
    *,
    horizons: Sequence[int] = (10,),
    advance: Callable[[int], object] | None = None,
) -> Evaluation:
    """Reconstruct the first samples of a simulator and compare with the truth.

    Parameters
    ----------
    solver : SourceSolver
        The method.
    simulator : PatchSimulator
        Test data.
    samples : int
        How many, at least 2.
    horizons : sequence of int
        Numbers of steps after which to look; 0 is the start.
    advance : callable, optional
        Called with a number of samples when they are done.

    Returns
    -------
    Evaluation
    """
    if samples < 2 or not horizons or min(horizons) < 0 or max(horizons) < 1:
        raise ValueError(
            "evaluate: expected 2 samples or more and horizons of 0 or more steps, one of them "
            f"positive, got {samples}, {horizons}"
        )
    compare = Evaluator(solver.head, simulator.sfreq)
    parts = []
    for first in range(0, samples, BATCH):
        batch = simulator.batch(range(first, min(first + BATCH, samples)))
        parts.append(_evaluate_batch(solver, batch, compare, sorted(set(horizons))))
        if advance is not None:
            advance(len(batch.sensors))
    joined: dict[str, Any] = {}
    for f in fields(Evaluation):
        pieces = [getattr(part, f.name) for part in parts]
        if f.name == "metrics":
            joined[f.name] = {
                k: SourceMetrics.concatenate([p[k] for p in pieces]) for k in pieces[0]
            }
        elif isinstance(pieces[0], dict):
            joined[f.name] = {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}
        else:
            joined[f.name] = np.concatenate(pieces, axis=-1)
    return Evaluation(**joined)


def _evaluate_batch(
    solver: SourceSolver, batch: Sample, compare: Evaluator, horizons: list[int]
) -> Evaluation:
    sensors = torch.from_numpy(batch.sensors)
    y = solver.energy.normalized(sensors)
    optimizer = solver.optimizer(y, horizons[-1])
    metrics, monotone, rejected, worst = {}, {}, {}, {}
    start = solver.energy.start(y)
    terms = [solver.energy.terms(start, y)]

    def record(steps: int, x: torch.Tensor, totals: Any, iterations: torch.Tensor) -> None:
        metrics[steps] = compare(batch.sources, x, batch.seed_source)
        monotone[steps] = (totals.worst_increase <= 0).cpu().numpy()
        worst[steps] = totals.worst_increase.double().cpu().numpy()
        rejected[steps] = (totals.rejected / iterations.clamp(min=1)).double().cpu().numpy()

    def look(state: lmm.State, info: lmm.StepInfo) -> bool:
        terms.append(solver.energy.terms(state.x, y))
        steps = len(terms) - 1
        if steps in horizons:
            record(steps, state.x, state.tally, state.tally.iterations)
        return False

    if 0 in horizons:
        tally = Tally.start(terms[0][0])
        record(0, start, tally, tally.iterations)
    result = optimizer.minimize(start, callback=look)
    # All problems may have come to rest before the last horizon.
    for steps in horizons:
        if steps not in metrics:
            record(steps, result.x, result.certificate, result.iterations)
    while len(terms) <= horizons[-1]:
        terms.append(terms[-1])
    data_term, prior_term = (
        torch.stack(part).double().cpu().numpy() for part in zip(*terms, strict=True)
    )
    return Evaluation(
        metrics=metrics,
        monotone=monotone,
        rejected=rejected,
        worst_increase=worst,
        clipped=result.certificate.clipped.double().cpu().numpy(),
        energy=data_term + float(solver.energy.weight.detach()) * prior_term,
        data_term=data_term,
        prior_term=prior_term,
    )
