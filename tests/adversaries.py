"""Preconditioners, majorants and objectives that misbehave, for tests of the safeguard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm

HOSTILE = (float("nan"), float("inf"), -float("inf"), -1.0, -1e30, 1e30, 0.0, 1e-30, 1.0)


class Hostile(lmm.LearnedPreconditioner):
    """Cycles through `palette` along unknowns and accepted steps; the same for every problem."""

    def __init__(self, palette: Sequence[float] = HOSTILE, stride: int = 4) -> None:
        super().__init__()
        self.palette = tuple(palette)
        self.stride = stride

    def init_state(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[0], dtype=torch.int64)

    def forward(self, features: lmm.Features, state: Tensor) -> tuple[Tensor, Tensor]:
        x = features.x
        unknown = torch.arange(x[0].numel()).reshape(1, *x.shape[1:])
        count = state.reshape(-1, *([1] * (x.dim() - 1)))
        index = (self.stride * count + unknown) % len(self.palette)
        return torch.tensor(self.palette, dtype=x.dtype)[index].expand_as(x), state + 1


class Random(lmm.LearnedPreconditioner):
    """Gaussian multipliers over twelve decades, fresh at every call."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def init_state(self, x: Tensor) -> Any:
        return None

    def forward(self, features: lmm.Features, state: Any) -> tuple[Tensor, Any]:
        size = torch.rand(features.x.shape, generator=self.generator, dtype=features.x.dtype)
        sign = torch.randn(features.x.shape, generator=self.generator, dtype=features.x.dtype)
        return sign * 10 ** (12 * size - 6), None


class Returning(lmm.LearnedPreconditioner):
    """Returns whatever `answer` makes of the features."""

    def __init__(self, answer: Callable[[lmm.Features], Any]) -> None:
        super().__init__()
        self.answer = answer

    def init_state(self, x: Tensor) -> Any:
        return None

    def forward(self, features: lmm.Features, state: Any) -> Any:
        return self.answer(features)


class Curvatures:
    """A majorant that claims to be `GLOBAL`, with curvature ``level(x)``, shape ``(B,)``."""

    def __init__(self, level: Callable[[Tensor], Tensor], kind: lmm.Kind = lmm.Kind.GLOBAL) -> None:
        self.level = level
        self.kind = kind

    def __call__(self, x: Tensor, aux: Any = None) -> lmm.Bound:
        return lmm.Bound(self.kind, lmm.ScalarCurvature(self.level(x)))


class Counted(lmm.Objective):
    """Counts evaluations of an objective, and lets its bound through."""

    def __init__(self, inner: lmm.Objective) -> None:
        self.inner = inner
        self.evaluations = 0

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        self.evaluations += 1
        return self.inner.evaluate(x)
