"""The pictures of the concepts, drawn from the library's own bounds and runs."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import learnmm as lmm
from learnmm.curvature import ScalarCurvature

SIZE = (7.5, 3.2)


def draw(folder: Path) -> None:
    """Draw all of them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in (kinds, hostile):
        figure = picture()
        figure.savefig(folder / f"{picture.__name__}.png", dpi=160, bbox_inches="tight")
        plt.close(figure)


def column(*numbers: float) -> Tensor:
    """Problems of one unknown."""
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def parabola(f: lmm.Objective, bound: lmm.Bound, x: Tensor, z: Tensor) -> Tensor:
    """``Q(z; x)`` for many points ``z`` of one problem."""
    at = f.evaluate(x)
    d = z - x
    return at.value + d[:, 0] * at.gradient[0, 0] + bound.curvature.quad(d) / 2


def second_derivative(f: lmm.Objective, x: Tensor) -> Tensor:
    """``f''`` at one problem of one unknown, ``(1,)``."""
    return torch.autograd.functional.hessian(lambda v: f(v).sum(), x).reshape(1)


def kinds() -> plt.Figure:
    """One objective at one point, and parabolas of three kinds."""
    f = lmm.HalfQuadratic(column(0.0), "cauchy")
    x, z = column(0.7), torch.linspace(-3.0, 3.5, 400, dtype=torch.float64)[:, None]
    bend = second_derivative(f, x)
    bounds = {
        "GLOBAL: above everywhere": f.bound(x),
        "POINTWISE: as curved as f at x": lmm.Bound(lmm.Kind.POINTWISE, ScalarCurvature(bend)),
        "ESTIMATE: too low by a half": lmm.Bound(lmm.Kind.ESTIMATE, ScalarCurvature(bend / 2)),
    }
    figure, axes = plt.subplots(figsize=SIZE)
    axes.plot(z[:, 0], f(z), "k", linewidth=2, label="f, the Cauchy loss")
    for (label, bound), style in zip(bounds.items(), ("-", "--", ":"), strict=True):
        axes.plot(z[:, 0], parabola(f, bound, x, z), style, label=label)
    axes.plot(x[:, 0], f(x), "ko")
    axes.annotate("x", (0.7, float(f(x))), (0.75, float(f(x)) - 0.25))
    axes.set(xlabel="z", ylabel="value", ylim=(-0.5, 2.5))
    axes.legend(frameon=False, loc="upper center", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


class Random(lmm.LearnedPreconditioner):
    """Stands for a network that is wrong: multipliers between -20 and 20."""

    def propose(self, point: lmm.Point, memory: None) -> lmm.Multipliers:
        """Whatever comes."""
        return lmm.Multipliers(40 * torch.rand_like(point.x) - 20)


RUNS = {
    "as proposed": lmm.SolveSettings(None, None, None, max_iter=12),
    "safeguard alone": lmm.SolveSettings(projection=None, max_iter=12),
    "projection alone": lmm.SolveSettings(safeguard=None, relaxation=None, max_iter=12),
    "both": lmm.SolveSettings(max_iter=12),
}


def hostile() -> plt.Figure:
    """The same wrong proposals, confined and verified or not."""
    a, y = torch.randn(30, 10, dtype=torch.float64), torch.randn(1, 30, dtype=torch.float64)
    energy = lmm.HalfQuadratic(y, "huber") @ a
    start = torch.zeros(1, 10, dtype=torch.float64)
    least = lmm.minimize(energy, start).fun
    figure, axes = plt.subplots(figsize=SIZE)
    for (label, settings), marker in zip(RUNS.items(), "xo^s", strict=True):
        torch.manual_seed(1)
        optimizer = lmm.ProjectedMMOptimizer(energy, proposer=Random(), settings=settings)
        run = optimizer.minimize(start, history=True)
        values = torch.cat([run.initial_fun[None], run.history.value]).flatten()
        axes.semilogy(values - least, marker=marker, label=label, markersize=4)
    axes.set(xlabel="steps tried", ylabel="objective over its least value")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
