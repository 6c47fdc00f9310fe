"""What a verified step costs over value and gradient, where the bound has a closed form."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import torch

import learnmm as lmm
from benchmarks.timing import paired_times, ratio
from learnmm.atoms import Atom
from learnmm.linear import Form
from learnmm.objective import differentiate

from .suite import DOUBLE, SEED

SMALL, LARGE = 1024, 64
"""Batches of problems with a dozen unknowns, and of those with hundreds or thousands."""

INSTALLED = (
    "quadratic",
    "logistic-regression",
    "softmax-regression",
    "signal-deconvolution",
    "image-deconvolution",
    "cosine-regression",
    "autoencoder-inverse",
)
"""Problems whose objective is an atom with a bound in closed form."""

GROWN: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("quadratic", {"unknowns": 2000, "form": form}) for form in Form),
    ("logistic-regression", {"samples": 1000, "unknowns": 100}),
    ("signal-deconvolution", {"length": 500}),
    ("image-deconvolution", {"side": 32}),
    ("cosine-regression", {"measurements": 600, "unknowns": 500}),
    ("autoencoder-inverse", {"measurements": 300, "unknowns": 1000, "latent": 30}),
)
"""Some of them with more unknowns, where the work is in products and not in calls."""


def cases() -> dict[str, tuple[lmm.Problem, int]]:
    """Problems and the sizes of their batches, by the name of the row."""
    found = {name: (lmm.problem(name), SMALL) for name in INSTALLED}
    for name, sizes in GROWN:
        problem = replace(lmm.problem(name), **sizes)
        form = f", {sizes['form']}" if "form" in sizes else ""
        found[f"{name}, large{form}"] = (problem, LARGE)
    return found


@torch.no_grad()
def step_cost(problem: lmm.Problem, batch: int, repeats: int) -> dict[str, Any]:
    """Medians of paired times: a step, its parts, the atom's own value and gradient, autograd's."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = problem.instance(batch, generator=generator, dtype=DOUBLE)
    energy = drawn.objective
    if not isinstance(energy, Atom):
        raise TypeError(f"the objective is no Atom but a {type(energy).__name__}")
    optimizer = drawn.optimizer()
    state, _ = optimizer.step(optimizer.init(drawn.x0))

    def parts() -> torch.Tensor:
        """Value, gradient, the bound, and the product with its inverse: what no step can spare."""
        at = energy.evaluate(state.x)
        return energy.bound_at(state.x, at.aux).curvature.solve(at.gradient)

    step, needed, closed, autograd = paired_times(
        lambda: optimizer.step(state),
        parts,
        lambda: energy.evaluate(state.x),
        lambda: differentiate(energy.measure, state.x),
        repeats=repeats,
    )
    return {
        "milliseconds": 1e3 * statistics.median(step),
        "over its parts": ratio(step, needed),
        "over closed form": ratio(step, closed),
        "over autograd": ratio(step, autograd),
        "unknowns": state.x[0].numel(),
        "batch": batch,
    }
