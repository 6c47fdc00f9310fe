"""Outer losses: what training minimizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from learnmm.atoms import cosine
from learnmm_esi.metrics import Evaluator
from learnmm_esi.networks.solver import SourceSolver

OuterLoss = Callable[[lmm.unroll.Unrolled, Mapping[str, Tensor]], Any]


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the batch of ``1 - cos(a, b)``."""
    return cosine(a, b, floor=1e-8).distance.mean()


def paper_loss(solver: SourceSolver) -> OuterLoss:
    """MM-Net Eq. 11: ``[1 - cos(x_K, x)] + [1 - cos(x_K, Phi(x_K))]``."""

    def loss(solved: lmm.unroll.Unrolled, batch: Mapping[str, Tensor]) -> Any:
        estimate = distance(solved.x, batch["sources"])
        prior = distance(solved.x, solver.energy.autoencoder(solved.x))
        return estimate + prior, {"estimate": estimate, "prior": prior}

    return loss


def deep_loss(solver: SourceSolver) -> OuterLoss:
    """Every iterate learns from the truth, the later the more, and so does the prior.

    ``sum_k w_k [1 - cos(x_k, x)] + 1/2 [1 - cos(Phi(x_j), x)] + 1/2 [1 - cos(Phi(x_K), x)]
    + 1/4 [1 - cos(Phi(x), x)]`` with ``w_k`` proportional to ``k`` and ``j = K // 2``: an
    autoencoder that maps iterates to the truth makes the truth a minimizer of its prior, so the
    energy leads where the estimate should go.
    """

    def loss(solved: lmm.unroll.Unrolled, batch: Mapping[str, Tensor]) -> Any:
        truth, iterates = batch["sources"], solved.iterates[1:]
        count = len(iterates)
        weights = torch.arange(1, count + 1, device=truth.device) / (count * (count + 1) / 2)
        each = torch.stack([distance(x, truth) for x in iterates])
        phi = solver.energy.autoencoder
        middle, last = (distance(phi(iterates[k]), truth) for k in (count // 2 - 1, count - 1))
        prior = (middle + last) / 2 + distance(phi(truth), truth) / 4
        return (weights * each).sum() + prior, {"estimate": each[-1], "prior": last}

    return loss


LOSSES: dict[str, Callable[[SourceSolver], OuterLoss]] = {"deep": deep_loss, "paper": paper_loss}


def measured(loss: OuterLoss, compare: Evaluator) -> OuterLoss:
    """Let validations say besides how far off, how sharp and how noisy the estimates are.

    Parameters
    ----------
    loss : callable
        One of `LOSSES`, on recordings with a ``"seed_source"``.
    compare : Evaluator
        Of the head model; what it says is logged as ``LE`` (mm), ``AUC`` (x 100) and ``PSNR`` (dB).
    """

    def both(solved: lmm.unroll.Unrolled, batch: Mapping[str, Tensor]) -> Any:
        value, scalars = loss(solved, batch)
        if torch.is_grad_enabled():
            return value, scalars
        means = dict.fromkeys(("LE", "AUC", "PSNR"), math.nan)
        if torch.isfinite(solved.x).all():
            seen = compare(batch["sources"], solved.x.float(), batch["seed_source"])
            means["LE"] = float(seen.localization_error.mean())
            means["AUC"] = 100 * float(seen.auc.mean())
            means["PSNR"] = float(seen.psnr.mean())
        return value, {**scalars, **means}

    return both
