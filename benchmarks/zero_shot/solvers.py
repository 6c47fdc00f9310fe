"""What is compared: the learned method, what it is made of, and what people use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import learnmm as lmm

from ..peers.recorder import Recorder
from ..peers.solvers import learnmm_solvers, torch_solvers
from ..peers.solvers.base import Solver
from ..peers.suite import Case

LEARNED, BASELINE = "learned quasi-Newton", "limited memory"
UNVERIFIED = "learned, no safeguard"
RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Of Adam, and of gradient descent in units of the curvature at the start; the best counts."""

POWER = 30
"""Iterations of the power method."""


def unverified(case: Case, recorder: Recorder) -> None:
    """The learned steps, whatever they do to the objective."""
    objective, own = learnmm_solvers.counted(case, recorder)

    def note(state: lmm.State, _: lmm.StepInfo) -> None:
        recorder.iterate(state.value.numpy())

    settings = lmm.SolveSettings(safeguard=None, max_iter=10**9, gtol=0.0)
    learned = lmm.proposers.LearnedQuasiNewton.pretrained()
    lmm.minimize(objective, case.x0, proposer=learned, settings=settings, callback=note, **own)


def descent(rate: float, curvature: float | None = None) -> Callable[[Case, Recorder], None]:
    """Gradient descent by a fixed share of ``1 / L``; by default of the curvature at the start."""

    def run(case: Case, recorder: Recorder) -> None:
        x = case.x0[0].clone()
        with recorder.paused():
            step = rate / (curvature or largest(case, x))
        while True:
            recorder.evaluated()
            gradient, value = torch.func.grad_and_value(case.fun)(x)
            recorder.iterate(value.item())
            x = x - step * gradient

    return run


def largest(case: Case, x: Tensor) -> float:
    """The largest absolute eigenvalue of the Hessian, by the power method."""
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    size = 1.0
    for _ in range(POWER):
        z = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(case.fun(z), z, create_graph=True)
        (v,) = torch.autograd.grad(gradient, z, v / v.norm())
        size = float(v.norm())
    return size


def bfgs(before: Tensor) -> Callable[[Case, Recorder], None]:
    """BFGS as Castera & Ochs run it, from its last point ``x_{-1}``: 0.8 times the step of Barzilai
    & Borwein as a start, and at most five trials of a tenth of each other.
    """

    def run(case: Case, recorder: Recorder) -> None:
        both = torch.func.grad_and_value(case.fun)
        last, x = before[0], case.x0[0]
        with recorder.paused():
            known = both(last)[0]  # charged to nobody
        recorder.evaluated()
        gradient, value = both(x)
        move, change = x - last, gradient - known
        inverse = 0.8 * (move @ change) / (change @ change) * torch.eye(len(x), dtype=x.dtype)
        while True:
            along = move @ change
            keep = torch.eye(len(x), dtype=x.dtype) - torch.outer(change, move) / along
            inverse = keep.mT @ inverse @ keep + torch.outer(move, move) / along
            step, length = -(inverse @ gradient), 1.0
            for trial in range(5):
                recorder.evaluated()
                there = both(x + length * step)
                if there[1] <= value + 1e-2 * length * (step @ gradient) or trial == 4:
                    break
                length *= 0.1
            move, change = length * step, there[0] - gradient
            x, (gradient, value) = x + move, there
            recorder.iterate(value.item())

    return run


def ours(**parts: object) -> Callable[[Case, Recorder], None]:
    """`lmm.minimize` with a proposer."""
    return learnmm_solvers.minimize(**parts)


SOLVERS = (
    Solver(BASELINE, ours(proposer=lmm.LimitedMemory()), ours=True),
    Solver("full memory", ours(proposer=lmm.LimitedMemory(200)), ours=True),
    Solver(
        "the same rule, untrained",
        lambda case, recorder: ours(proposer=untrained())(case, recorder),
        ours=True,
    ),
    Solver(
        LEARNED,
        lambda case, recorder: ours(proposer=lmm.proposers.LearnedQuasiNewton.pretrained())(
            case, recorder
        ),
        ours=True,
    ),
    Solver(UNVERIFIED, unverified, ours=True),
    Solver("torch L-BFGS, strong Wolfe", torch_solvers.lbfgs),
    *(Solver(f"Adam, {rate:g}", torch_solvers.adam(rate)) for rate in RATES),
    *(Solver(f"gradient descent, {rate:g}", descent(rate)) for rate in RATES),
)
"""All that is run; of Adam and gradient descent the best rate of each problem is told."""


def untrained() -> lmm.proposers.LearnedQuasiNewton:
    """The learned method before it has learned."""
    return lmm.proposers.LearnedQuasiNewton(lmm.proposers.quasi_newton.Rule())
