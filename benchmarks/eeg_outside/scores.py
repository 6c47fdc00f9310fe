"""How good the methods are on a cell: medians, means and worst tenths of every metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from learnmm_esi.metrics import SeveralEvaluator, SeveralMetrics

from .cells import Cell, Size, recordings
from .methods import Estimate, Prepare

METRICS = tuple(f.name for f in fields(SeveralMetrics))
RISING = ("average_precision", "auc", "psnr")
"""Metrics whose larger values are better."""

REFUSALS = (ValueError, RuntimeError, ArithmeticError, np.linalg.LinAlgError)
"""What a method may raise where it cannot serve."""


def scores(
    cell: Cell,
    methods: Mapping[str, Prepare],
    samples: int,
    seed: int,
    size: Size,
    advance: Callable[[int], object] = lambda _: None,
) -> dict[str, Any]:
    """Measure every method on the recordings of a cell.

    Returns
    -------
    dict
        Of every method its `summary`, or ``{"cannot": reason}``.
    """
    found: dict[str, list[SeveralMetrics]] = {name: [] for name in methods}
    fallen: dict[str, list[np.ndarray]] = {name: [] for name in methods}
    cannot: dict[str, str] = {}
    for group in recordings(cell, samples, seed, size):
        compare = SeveralEvaluator(group.model)
        for name, prepare in methods.items():
            if name in cannot:
                continue
            try:
                estimate: Estimate = prepare(group.model)
                estimates = estimate(group.sensors, group.timing.sfreq)
            except REFUSALS as error:
                cannot[name] = f"{type(error).__name__}: {error}"
                continue
            found[name].append(compare(group.sources, estimates.sources, group.seed_sources))
            if estimates.fell_back is not None:
                fallen[name].append(estimates.fell_back)
        advance(len(group.sensors))
    return {
        name: {"cannot": cannot[name]}
        if name in cannot
        else summary(SeveralMetrics.concatenate(found[name]), fallen[name])
        for name in methods
    }


def summary(metrics: SeveralMetrics, fallen: list[np.ndarray]) -> dict[str, Any]:
    """Plain numbers: of each metric its median, mean, and what a tenth is worse than."""
    numbers: dict[str, Any] = {"samples": len(metrics)}
    for name in METRICS:
        values = getattr(metrics, name)
        # One of the values: between infinite ones, as of PSNR, there is nothing.
        worst = np.quantile(values, 0.1 if name in RISING else 0.9, method="inverted_cdf")
        numbers[name] = {
            "median": float(np.median(values)),
            "mean": float(values.mean()),
            "worst": float(worst),
        }
    if fallen:
        numbers["fell_back"] = float(np.concatenate(fallen).mean())
    return numbers
