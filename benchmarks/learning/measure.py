"""One family: learned, and tried on unseen instances, in and out of distribution."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from benchmarks.learning.rivals import adam, torch_lbfgs
from learnmm.families import LearnedMemory, LearnSettings
from learnmm.families.report import QUANTILES
from learnmm.families.solved import drawn, solve
from learnmm.families.trial import GAPS, MOST, counted, quantile_of, tried
from learnmm.proposers import BFGS, LimitedMemory, Proposer
from learnmm.registry import Instance, Problem

TEST = 1000
"""Chunk of instances that nothing was trained, chosen or reported on."""

LONG = 100
"""Pairs of a memory that forgets nothing: dense BFGS but for the scale of its first matrix."""

Row = dict[str, Any]


def measured(
    name: str, family: Problem, settings: LearnSettings, folder: Path, progress: bool
) -> Row:
    """Learn a family, and return all that the page says of it."""
    learned = lmm.learn(family, settings, folder=folder, progress=progress)
    learned.save(folder / "learned.safetensors")
    report = learned.report
    assert report is not None
    instance = drawn(family, settings.seed, TEST)
    optimum = solve(instance).optimum
    there = {"": compared(instance, learned, optimum)}
    for where, shifted in family.shifted().items():
        other = drawn(shifted, settings.seed, TEST)
        there[where] = compared(other, learned, solve(other).optimum)
    return {
        "name": name,
        "shares": family.shares,
        "unknowns": instance.x0[0].numel(),
        "under": report.under,
        "starts": report.starts,
        "minutes": report.minutes,
        "break_even": _finite(report.break_even),
        "break_even_evaluations": _finite(report.break_even_evaluations),
        "size": (folder / "learned.safetensors").stat().st_size,
        "there": there,
        "rivals": rivals(family, instance, learned, optimum, settings.seed),
    }


def compared(instance: Instance, learned: LearnedMemory, optimum: Tensor) -> Row:
    """The default and what was learned on the same instances."""
    plain = tried(instance, BFGS(), optimum)
    ours = tried(instance, learned, optimum, starts=learned.starts)
    best = torch.minimum(plain.seen[-1], ours.seen[-1])  # lower than the long solve, perhaps
    plain, ours = plain.against(best), ours.against(best)
    return {
        "plain": _quantiles({gap: plain.evaluations(gap) for gap in GAPS}),
        "learned": _quantiles({gap: ours.evaluations(gap) for gap in GAPS}),
        "refused": ours.refused / max(1, ours.tried),
        "monotone": float(ours.monotone.double().mean()),
        "started": float(ours.started.double().mean()),
    }


def rivals(
    family: Problem,
    instance: Instance,
    learned: LearnedMemory,
    optimum: Tensor,
    seed: int,
) -> Row:
    """Evaluations of others, by solver."""
    long = tried(instance, LimitedMemory(LONG), optimum)
    rows = {
        "limited memory, 100 pairs": {gap: long.evaluations(gap) for gap in GAPS},
        "L-BFGS of torch": torch_lbfgs(family, seed, GAPS),
        "Adam, best of six rates": adam(instance, optimum, GAPS),
    }
    if learned.learns:
        rows["learned, not verified"] = unverified(instance, learned, optimum)
    return {solver: _quantiles(counts) for solver, counts in rows.items()}


def unverified(instance: Instance, proposer: Proposer, optimum: Tensor) -> dict[float, Tensor]:
    """What was learned without a safeguard, from its own start."""
    settings = lmm.SolveSettings(max_iter=MOST, safeguard=None, relaxation=None, projection=None)
    optimizer = instance.optimizer(proposer=proposer, settings=settings)
    result = optimizer.minimize(instance.x0, history=True)
    assert result.history is not None
    values = torch.cat([result.initial_fun[None], result.history.value])
    # The evaluation of its start comes before those of its steps.
    return {gap: counted(values, optimum, gap) + 1 for gap in GAPS}


def _quantiles(evaluations: Any) -> dict[str, list[float | None]]:
    """Median, 90 % and worst by gap; None where never."""
    return {
        f"{gap:g}": [_finite(quantile_of(evaluations[gap], q)) for q in QUANTILES.values()]
        for gap in GAPS
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
