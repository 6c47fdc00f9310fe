"""What a solver needs on given instances: evaluations until so much of the gap is left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from learnmm.proposers.base import Proposer
from learnmm.registry import Instance
from learnmm.solve.settings import SolveSettings

GAPS = (1e-3, 1e-6)
"""Shares of ``f(x0) - f*`` to which evaluations are counted."""

CLOSE = 1e-9
"""Counted too, since what is at 1e-6 at once may still need a metric to come closer."""

MOST = 400
"""Evaluations after which a solve is given up."""


@dataclass(frozen=True)
class Trial:
    """One solver on some instances.

    Attributes
    ----------
    seen : Tensor
        Least value after every evaluation, those of ``x0``, of a learned start and of refused
        candidates included, ``(T, N)``.
    optimum : Tensor
        Best values known, ``(N,)``.
    monotone : Tensor of bool
        Whether no step rose, ``(N,)``.
    refused, tried : int
        Candidates.
    started : Tensor of bool
        Whether a learned start was taken, ``(N,)``.
    """

    seen: Tensor
    optimum: Tensor
    monotone: Tensor
    refused: int
    tried: int
    started: Tensor

    def evaluations(self, gap: float) -> Tensor:
        """Evaluations until so much of ``f(x0) - f*`` is left, ``(N,)``; infinite where never."""
        return counted(self.seen, self.optimum, gap)

    def at(self, gap: float, quantile: float = 0.5) -> float:
        """Quantile of them over the instances."""
        return quantile_of(self.evaluations(gap), quantile)

    def against(self, optimum: Tensor) -> Trial:
        """The same beside better values, where somebody has found them."""
        return replace(self, optimum=torch.minimum(self.optimum, optimum))


def tried(
    instance: Instance,
    proposer: Proposer | None,
    optimum: Tensor,
    *,
    starts: bool = False,
    gap: float = GAPS[-1],
    most: int = MOST,
) -> Trial:
    """Run a solver on an instance.

    Parameters
    ----------
    instance : Instance
        Problems, in float64.
    proposer : Proposer or None
        The solver.
    optimum : Tensor
        Best values known, ``(N,)``.
    starts : bool
        Whether the proposer has a start of its own, which costs an evaluation.
    gap : float
        Share of the gap at which a problem is left.
    most : int
        Steps after which a solve is given up.
    """
    optimizer = instance.optimizer(proposer=proposer, settings=SolveSettings(max_iter=most))
    with torch.no_grad():
        state = optimizer.init(instance.x0)
        first = state.initial
        enough = optimum + gap * (first - optimum)
        values = [first, state.value] if starts else [first]
        for _ in range(most):
            if not bool((state.running & (state.value > enough)).any()):
                break
            state, _ = optimizer.step(state)
            values.append(state.value)
    certificate = optimizer.certificate(state.tally)
    return Trial(
        seen=torch.stack(values).cummin(0).values,
        optimum=optimum,
        monotone=certificate.monotone,
        refused=int(certificate.rejected.sum()),
        tried=int(state.tally.iterations.sum()),
        started=certificate.started,
    )


def counted(values: Tensor, optimum: Tensor, gap: float) -> Tensor:
    """Evaluations until so much of ``f(x0) - f*`` is left, ``(N,)``; infinite where never.

    Parameters
    ----------
    values : Tensor
        At every evaluation, that of ``x0`` first, ``(T, N)``; NaN is no value.
    optimum : Tensor
        ``f*``, ``(N,)``.
    gap : float
        Share that may be left.
    """
    least = torch.nan_to_num(values, nan=torch.inf).cummin(0).values
    hit = (least - optimum) / (least[0] - optimum).clamp(min=1e-300) <= gap
    return torch.where(hit.any(0), hit.double().argmax(0).double() + 1, torch.inf)


def quantile_of(counts: Tensor, quantile: float) -> float:
    """One of some counts: between two of them, one may be infinite."""
    ordered = counts.sort().values
    return float(ordered[min(len(ordered) - 1, int(quantile * len(ordered)))])
