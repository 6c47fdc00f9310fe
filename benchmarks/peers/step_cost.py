"""What a verified step costs over value and gradient, where the bound has a closed form."""

from __future__ import annotations

import statistics
from typing import Any

import torch

import learnmm as lmm
from benchmarks.timing import paired_times, ratio
from learnmm.atoms.base import Atom
from learnmm.objective import differentiate

from .suite import DOUBLE, SEED

ANALYTICAL = (
    "quadratic",
    "logistic-regression",
    "softmax-regression",
    "signal-deconvolution",
    "image-deconvolution",
    "cosine-regression",
    "autoencoder-inverse",
)
"""Installed problems whose objective is an atom, and small enough to batch by the thousand."""


@torch.no_grad()
def step_cost(name: str, batch: int, repeats: int) -> dict[str, Any]:
    """Medians of paired times: a step, the atom's own value and gradient, autograd's."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = lmm.problem(name).instance(batch, generator=generator, dtype=DOUBLE)
    energy = drawn.objective
    if not isinstance(energy, Atom):
        raise TypeError(f"the objective of {name} is no Atom but a {type(energy).__name__}")
    optimizer = drawn.optimizer()
    state, _ = optimizer.step(optimizer.init(drawn.x0))
    step, closed, autograd = paired_times(
        lambda: optimizer.step(state),
        lambda: energy.evaluate(state.x),
        lambda: differentiate(energy.measure, state.x),
        repeats=repeats,
    )
    return {
        "milliseconds": 1e3 * statistics.median(step),
        "over closed form": ratio(step, closed),
        "over autograd": ratio(step, autograd),
        "unknowns": state.x[0].numel(),
    }
