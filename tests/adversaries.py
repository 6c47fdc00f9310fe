"""Proposers, majorants and objectives that misbehave, for tests of the safeguard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm

HOSTILE = (float("nan"), float("inf"), -float("inf"), -1.0, -1e30, 1e30, 0.0, 1e-30, 1.0)


class Hostile(lmm.LearnedPreconditioner):
    """Cycles through `palette` along unknowns and iterates; the same for every problem."""

    def __init__(self, palette: Sequence[float] = HOSTILE, stride: int = 4) -> None:
        super().__init__()
        self.palette = tuple(palette)
        self.stride = stride

    def init_memory(self, x: Tensor) -> Tensor:
        return torch.full((x.shape[0],), -1)  # number of the iterate, the start being 0

    def observe(self, point: lmm.Point, memory: Tensor) -> Tensor:
        return memory + 1

    def propose(self, point: lmm.Point, memory: Tensor) -> lmm.Multipliers:
        x = point.x
        unknown = torch.arange(x[0].numel()).reshape(1, *x.shape[1:])
        number = memory.reshape(-1, *([1] * (x.dim() - 1)))
        index = (self.stride * number + unknown) % len(self.palette)
        return lmm.Multipliers(torch.tensor(self.palette, dtype=x.dtype)[index].expand_as(x))


class Random(lmm.LearnedPreconditioner):
    """Gaussian multipliers over twelve decades, fresh at every iterate."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def init_memory(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def observe(self, point: lmm.Point, memory: Tensor) -> Tensor:
        size = torch.rand(memory.shape, generator=self.generator, dtype=memory.dtype)
        sign = torch.randn(memory.shape, generator=self.generator, dtype=memory.dtype)
        return sign * 10 ** (12 * size - 6)

    def propose(self, point: lmm.Point, memory: Tensor) -> lmm.Multipliers:
        return lmm.Multipliers(memory)


class Returning(lmm.Proposer):
    """Proposes whatever `answer` makes of the point."""

    def __init__(self, answer: Callable[[lmm.Point], Any]) -> None:
        super().__init__()
        self.answer = answer

    def propose(self, point: lmm.Point, memory: None) -> Any:
        return self.answer(point)


class Curvatures:
    """A majorant that claims to be `GLOBAL`, with curvature ``level(x)``, shape ``(B,)``."""

    def __init__(self, level: Callable[[Tensor], Tensor], kind: lmm.Kind = lmm.Kind.GLOBAL) -> None:
        self.level = level
        self.kind = kind

    def __call__(self, x: Tensor, aux: Any = None) -> lmm.Bound:
        return lmm.Bound(self.kind, lmm.curvature.ScalarCurvature(self.level(x)))


class Counted(lmm.Objective):
    """Counts evaluations of an objective, and lets its bound through."""

    def __init__(self, inner: lmm.Objective) -> None:
        self.inner = inner
        self.evaluations = 0

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        self.evaluations += 1
        return self.inner.evaluate(x)
