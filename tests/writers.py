"""Parts of an optimizer that write into what they are given, in every way that tensors allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm

DTYPE = torch.float64
TARGET = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 2.0]], dtype=DTYPE)
X0 = torch.tensor([[4.0, 4.0, 4.0], [-3.0, 1.0, 0.0]], dtype=DTYPE)

Write = Callable[[Tensor], None]


def quadratic(x: Tensor) -> Tensor:
    return ((x - TARGET) ** 2).sum(1)


def add(t: Tensor) -> None:
    t.add_(5)


def through_data(t: Tensor) -> None:
    t.data.add_(5)


def through_numpy(t: Tensor) -> None:
    t.detach().numpy()[...] += 5


def through_a_view(t: Tensor) -> None:
    t[0].mul_(-3)


WRITES = [add, through_data, through_numpy, through_a_view]

by_write = pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)


class Writing(lmm.Proposer):
    """Proposes multipliers 1, or a short gradient step; writes at the place named.

    "start", "point" and "curvature" are what it is shown, "memory" is its own, "proposing" is its
    own too, but not to be written to any more.
    """

    def __init__(self, write: Write, at: str, *, whole: bool = False) -> None:
        super().__init__()
        self.write, self.at, self.whole = write, at, whole

    def init_memory(self, x: Tensor) -> Any:
        if self.at == "start":
            self.write(x)
        return {"x": x}  # shares memory with what it was given

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        if self.at == "point":
            self.write(point.x)
            self.write(point.gradient)
        if self.at == "curvature":
            self.write(point.curvature.value)  # type: ignore[attr-defined]
        if self.at == "memory":
            self.write(memory["x"])
        return memory

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Multipliers | lmm.Step:
        if self.at == "proposing":
            self.write(memory["x"])
        if self.whole:
            return lmm.Step(0.1 * point.gradient)
        return lmm.Multipliers(torch.ones_like(point.x))


class WritingMajorant:
    """``2 I``."""

    def __init__(self, write: Write, at: str) -> None:
        self.write, self.at = write, at

    def __call__(self, x: Tensor, aux: Any = None) -> lmm.Bound:
        if self.at == "call":
            self.write(x)
        return lmm.Bound(
            lmm.Kind.GLOBAL, lmm.curvature.ScalarCurvature(torch.full_like(x[:, 0], 2.0))
        )


class WritingAdaptive:
    """``2 I``, with a memory."""

    def __init__(self, write: Write, at: str) -> None:
        self.write, self.at = write, at

    def init_memory(self, x: Tensor, gradient: Tensor) -> Any:
        if self.at == "start":
            self.write(x)
        if self.at == "gradient":
            self.write(gradient)
        return [torch.zeros_like(x[:, 0])]

    def observe(self, move: Tensor, change: Tensor, memory: Any) -> Any:
        if self.at == "observe":
            self.write(move)
            self.write(change)
            self.write(memory[0])
        return memory

    def __call__(self, x: Tensor, aux: Any = None, memory: Any = None) -> lmm.Bound:
        if self.at == "call":
            self.write(x)
            if memory is not None:
                self.write(memory[0])
        return WritingMajorant(self.write, "nowhere")(x)


class LateWriter(lmm.Objective):
    """A quadratic that writes into its argument where the first entry is below a limit."""

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        evaluation = lmm.Evaluation(quadratic(x), 2 * (x - TARGET))
        if bool((x[:, 0] < 3.9).any()):
            x.add_(7)
        return evaluation


class Buffered(lmm.Objective):
    """A quadratic with values, gradients and aux in the same memory at every evaluation."""

    def __init__(self) -> None:
        self.value, self.gradient = torch.empty(2, dtype=DTYPE), torch.empty(2, 3, dtype=DTYPE)

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        torch.sub(x, TARGET, out=self.gradient)
        self.gradient.mul_(2)
        torch.sum((x - TARGET) ** 2, 1, out=self.value)
        return lmm.Evaluation(self.value, self.gradient, {"gradient": self.gradient})
