"""Evaluate a method: the metrics of Table I, and what the certificate says, at several horizons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import learnmm as lmm
from learnmm.solve import Certificate, Tally
from learnmm_esi.metrics import Evaluator, PerSeedEvaluator, SourceMetrics
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.simulation.samples import Sample
from learnmm_esi.simulation.simulator import PatchSimulator
from learnmm_esi.sources import SourceModel

BATCH = 32
Comparison = Callable[[Sample, Any], SourceMetrics]


@dataclass(frozen=True, eq=False)
class Look:
    """What a method has done after a number of steps.

    Attributes
    ----------
    metrics : SourceMetrics
        How good the estimates are; `PerSeedMetrics` where there are several patches.
    monotone, rejected, worst_increase : ndarray, shape (samples,)
        Whether no step raised the energy, the share of steps refused, the largest increase of one
        step (minus infinity where no step was taken).
    """

    metrics: SourceMetrics
    monotone: NDArray[np.bool_]
    rejected: NDArray[np.float64]
    worst_increase: NDArray[np.float64]

    @classmethod
    def of(cls, metrics: SourceMetrics, said: Tally | Certificate, iterations: Tensor) -> Look:
        """From metrics, what is on record of so many iterations, and their numbers ``(B,)``."""
        return cls(
            metrics,
            (said.worst_increase <= 0).cpu().numpy(),
            _array(said.rejected / iterations.clamp(min=1)),
            _array(said.worst_increase),
        )

    @classmethod
    def concatenate(cls, looks: Sequence[Look]) -> Look:
        """Join those of several batches."""
        return cls(
            type(looks[0].metrics).concatenate([look.metrics for look in looks]),
            np.concatenate([look.monotone for look in looks]),
            np.concatenate([look.rejected for look in looks]),
            np.concatenate([look.worst_increase for look in looks]),
        )

    def summary(self) -> dict[str, float]:
        """Means, those of the metrics with their standard errors."""
        row: dict[str, float] = {}
        for f in fields(self.metrics):
            values = getattr(self.metrics, f.name)
            row[f.name] = float(values.mean())
            row[f"{f.name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values)))
        worst = self.worst_increase
        return {
            **row,
            "monotone": float(self.monotone.mean()),
            "rejected": float(self.rejected.mean()),
            "worst_increase": float(worst[np.isfinite(worst)].max(initial=-1.0)),
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a method did on a test set.

    Attributes
    ----------
    after : dict of int to Look
        By number of steps.
    clipped : ndarray, shape (samples,)
        Share of multipliers that the projection changed, over all steps.
    energy, data_term, prior_term : ndarray, shape (steps + 1, samples)
        Along the iterations; the prior term without its weight.
    accepted : ndarray of bool, shape (samples,), optional
        Which learned starts `SourceSolver.reconstruct` would have taken; here all are.
    """

    after: dict[int, Look]
    clipped: NDArray[np.float64]
    energy: NDArray[np.float64]
    data_term: NDArray[np.float64]
    prior_term: NDArray[np.float64]
    accepted: NDArray[np.bool_] | None = None

    @classmethod
    def concatenate(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Join those of several batches, looked at after the same numbers of steps."""
        accepted = [part.accepted for part in parts if part.accepted is not None]
        return cls(
            {k: Look.concatenate([part.after[k] for part in parts]) for k in parts[0].after},
            np.concatenate([part.clipped for part in parts]),
            np.concatenate([part.energy for part in parts], axis=1),
            np.concatenate([part.data_term for part in parts], axis=1),
            np.concatenate([part.prior_term for part in parts], axis=1),
            np.concatenate(accepted) if accepted else None,
        )

    def summary(self) -> dict[str, Any]:
        """Means with their standard errors, as plain values."""
        judged = {} if self.accepted is None else {"accepted": float(self.accepted.mean())}
        return {
            "samples": self.energy.shape[1],
            "clipped": float(self.clipped.mean()),
            **judged,
            "steps": {str(steps): look.summary() for steps, look in self.after.items()},
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

    Where samples have several patches, the metrics are averaged over their seeds.

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
    compare = comparison(solver.head, simulator)
    parts = []
    for first in range(0, samples, BATCH):
        batch = simulator.batch(range(first, min(first + BATCH, samples)))
        parts.append(_evaluate_batch(solver, batch, compare, sorted(set(horizons))))
        if advance is not None:
            advance(len(batch.sensors))
    return Evaluation.concatenate(parts)


def comparison(model: SourceModel, simulator: PatchSimulator) -> Comparison:
    """Return what compares estimates with samples of a simulator.

    Parameters
    ----------
    model : SourceModel
        The head model.
    simulator : PatchSimulator
        With one patch a sample or with several.

    Returns
    -------
    callable
        From a batch of samples and estimates to `SourceMetrics`, or to `PerSeedMetrics`.
    """
    if simulator.patches.most == 1:
        one = Evaluator(model, simulator.sfreq)
        return lambda batch, estimate: one(batch.sources, estimate, batch.seed_source)
    several = PerSeedEvaluator(model, simulator.sfreq)
    return lambda batch, estimate: several(
        batch.sources, estimate, batch.seed_sources, batch.patches
    )


def _evaluate_batch(
    solver: SourceSolver, batch: Sample, compare: Comparison, horizons: list[int]
) -> Evaluation:
    y = solver.energy.normalized(torch.from_numpy(batch.sensors))
    start, (_, accepted) = solver.energy.start(y), solver.energy.judged_start(y)
    terms, values = [solver.energy.terms(start, y)], list[Tensor]()
    after: dict[int, Look] = {}

    def look(steps: int, x: Tensor, totals: Tally | Certificate, iterations: Tensor) -> None:
        after[steps] = Look.of(compare(batch, x), totals, iterations)

    def follow(state: lmm.State, _: lmm.StepInfo) -> bool:
        values.append(state.value)
        terms.append(solver.energy.terms(state.x, y))
        if (steps := len(terms) - 1) in horizons:
            look(steps, state.x, state.tally, state.tally.iterations)
        return False

    if 0 in horizons:
        tally = Tally.start(terms[0][0])
        look(0, start, tally, tally.iterations)
    result = solver.optimizer(y, horizons[-1]).minimize(start, callback=follow)
    # All problems may have come to rest before the last horizon.
    for steps in horizons:
        if steps not in after:
            look(steps, result.x, result.certificate, result.iterations)
    values.insert(0, result.initial_fun)
    rest = horizons[-1] + 1 - len(terms)
    values, terms = values + [values[-1]] * rest, terms + [terms[-1]] * rest
    data_term, prior_term = (_array(torch.stack(part)) for part in zip(*terms, strict=True))
    return Evaluation(
        after,
        clipped=_array(result.certificate.clipped),
        energy=_array(torch.stack(values)),
        data_term=data_term,
        prior_term=prior_term,
        accepted=None if accepted is None else accepted.cpu().numpy(),
    )


def _array(values: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.double().cpu().numpy()
    return array
