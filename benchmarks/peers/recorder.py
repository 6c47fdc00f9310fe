"""Watch one run: count evaluations, note when each problem comes close enough, stop it in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

TOLERANCES = (1e-3, 1e-6, 1e-9)
"""Shares of the gap ``f(x0) - f*`` that may be left (Moré & Wild 2009)."""

NAMES = ("1e-3", "1e-6", "1e-9")

PRODUCT_WORK = 2
"""A Hessian-vector product differentiates a gradient: it is charged as two of them."""

ROUNDING = 16 * np.finfo(np.float64).eps
"""Rise of a value, relative to its size, that rounding explains."""


class Finished(BaseException):
    """The run has nothing left to show, or to spend; no error, which a solver might catch."""


@dataclass(frozen=True)
class Budget:
    """What a run may spend, per problem: seconds, and value-and-gradient evaluations."""

    seconds: float
    evaluations: int


@dataclass
class Recorder:
    """Counts and times of one run on a batch of problems; a batch of one for most solvers.

    Attributes
    ----------
    initial, optimum : array
        ``f(x0)`` and ``f*``, shape ``(B,)``.
    budget : Budget
        When to give up.
    gradients, products : int
        Evaluations of value and gradient, and Hessian-vector products, so far. A batch that is
        evaluated in one call counts once: that is what each of its problems needed.
    """

    initial: np.ndarray
    optimum: np.ndarray
    budget: Budget
    gradients: int = 0
    products: int = 0
    stop: str = "ended"
    _paused: float = 0.0
    _start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Nothing is reached yet."""
        gap = self.initial - self.optimum
        self._targets = self.optimum + np.outer(TOLERANCES, gap)  # (tolerances, B)
        self.reached = np.zeros(self._targets.shape, dtype=bool)
        self.seconds, self.evaluations, self.twice = (
            np.full(self._targets.shape, np.nan) for _ in range(3)
        )
        self.best = self.initial.copy()
        self.last = self.initial.copy()
        self.monotone = np.ones(len(self.initial), dtype=bool)

    @property
    def elapsed(self) -> float:
        """Seconds so far, without what the recorder itself took."""
        return time.perf_counter() - self._start - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not charge what is done inside."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - begin

    def evaluated(self) -> None:
        """Count one evaluation of value and gradient."""
        self.gradients += 1
        self._check()

    def multiplied(self) -> None:
        """Count one Hessian-vector product."""
        self.products += 1
        self._check()

    def _check(self) -> None:
        """Stop what has spent its budget."""
        if self.gradients + PRODUCT_WORK * self.products > self.budget.evaluations:
            self._finish("evaluations")
        if self.elapsed > self.budget.seconds:
            self._finish("seconds")

    def iterate(self, values: Any) -> None:
        """Note the objective of the iterates that a solver has arrived at, shape ``(B,)``."""
        elapsed = self.elapsed
        with self.paused():
            now = np.atleast_1d(np.asarray(values, dtype=np.float64))
            # Written so that NaN counts as a rise.
            self.monotone &= now <= self.last + ROUNDING * np.abs(self.last)
            self.last = now
            self.best = np.fmin(self.best, now)
            fresh = (now <= self._targets) & ~self.reached
            self.seconds[fresh] = elapsed
            self.evaluations[fresh] = self.gradients
            self.twice[fresh] = self.products
            self.reached |= fresh
        if self.reached[-1].all():
            self._finish("solved")
        self._check()  # of solvers that go back and forth between points that they know

    def _finish(self, reason: str) -> None:
        self.stop = reason
        raise Finished(reason)

    def problems(self) -> list[dict[str, Any]]:
        """What happened to each problem, as plain data."""
        gap = self.initial - self.optimum
        return [
            {
                # Seconds, gradients and products at which each tolerance was met.
                "hits": [
                    [float(self.seconds[k, i]), int(self.evaluations[k, i]), int(self.twice[k, i])]
                    if self.reached[k, i]
                    else None
                    for k in range(len(TOLERANCES))
                ],
                "monotone": bool(self.monotone[i]),
                # Share of the gap that the best iterate left.
                "left": float((self.best[i] - self.optimum[i]) / gap[i]),
                "stop": "solved" if self.reached[-1, i] else self.stop,
            }
            for i in range(len(self.initial))
        ]


class _Second(torch.autograd.Function):
    """Identity on a gradient; differentiated once per Hessian-vector product."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, recorder: Recorder) -> Tensor:
        ctx.recorder = recorder
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        ctx.recorder.multiplied()
        return v, None


class _Tap(torch.autograd.Function):
    """Identity on an iterate, whose gradient passes through `_Second`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, recorder: Recorder) -> Tensor:
        ctx.recorder = recorder
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Second.apply(gradient, ctx.recorder), None


def tapped(x: Tensor, recorder: Recorder) -> Tensor:
    """``x``, counting every product with a Hessian that is taken through it by autograd."""
    return _Tap.apply(x, recorder)
