"""How a model is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from learnmm.storage import short

LARGEST = 2**63 - 1  # integers of generators
PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class FitSettings:
    """Settings of :func:`learnmm.fit`, refused where they cannot work.

    Attributes
    ----------
    steps : int
        Optimizer steps in all. A run that is resumed may be made longer or shorter: from there on
        its rates follow the new number.
    batch_size : int
        Samples per step, over all processes together.
    lr : float
        Largest learning rate of Adam.
    lr_factors : Mapping of str to float
        Prefix of parameter names -> factor on `lr`. The longest prefix that fits a name counts, and
        0 freezes. A prefix that no trainable parameter has is an error.
    warmup : int
        Steps over which the rate rises linearly.
    final_lr : float
        Share of `lr` that is left at the last step; the rate falls to it as a cosine.
    clip : float or None
        Largest norm of the gradient of all parameters together.
    ema : float or None
        Decay of the moving average of the weights, whose weights are then validated and returned.
        The average of the first n updates uses ``min(ema, (1 + n) / (10 + n))``.
    precision : str
        ``"32-true"``: the model's own dtype. ``"bf16-mixed"``: its forward pass under autocast.
    validate_every : int
        Steps between two validations; there is one more at the end.
    patience : int or None
        Stop after this many validations in a row without a new best loss.
    checkpoint_minutes : float
        Time between two checkpoints.
    seed : int
        Seeds the order of the samples and the global generators at every step.
    """

    steps: int
    batch_size: int = 32
    lr: float = 1e-3
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    warmup: int = 20
    final_lr: float = 0.01
    clip: float | None = 0.5
    ema: float | None = None
    precision: str = "32-true"
    validate_every: int = 100
    patience: int | None = None
    checkpoint_minutes: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        _integer("steps", self.steps, 1)
        _integer("batch_size", self.batch_size, 1)
        _number("lr", self.lr, "positive and finite", lambda lr: 0 < lr < math.inf)
        if not isinstance(self.lr_factors, Mapping):
            raise TypeError(f"lr_factors must be a mapping, got {type(self.lr_factors).__name__}")
        object.__setattr__(self, "lr_factors", dict(self.lr_factors))
        for name, factor in self.lr_factors.items():
            if not isinstance(name, str):
                raise TypeError(f"lr_factors must have prefixes of names as keys, got {name!r}")
            where = f"lr_factors[{name!r}]"
            _number(where, factor, "at least 0 and finite", lambda factor: 0 <= factor < math.inf)
        _integer("warmup", self.warmup, 0)
        if self.warmup > self.steps:
            raise ValueError(f"warmup must be at most steps={self.steps}, got {self.warmup}")
        _number("final_lr", self.final_lr, "in [0, 1]", lambda share: 0 <= share <= 1)
        if self.clip is not None:
            _number("clip", self.clip, "positive, or None", lambda norm: norm > 0)
        if self.ema is not None:
            _number("ema", self.ema, "in (0, 1), or None", lambda decay: 0 < decay < 1)
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        _integer("validate_every", self.validate_every, 1)
        if self.patience is not None:
            _integer("patience", self.patience, 1)
        minutes = self.checkpoint_minutes
        _number("checkpoint_minutes", minutes, "at least 0", lambda minutes: minutes >= 0)
        _integer("seed", self.seed, 0)

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, ..., ``steps - 1``."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - 1 - self.warmup)
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.lr * (self.final_lr + (1 - self.final_lr) * cosine)

    def numbers(self) -> dict[str, Any]:
        """Return the settings that the numbers of a run depend on."""
        settings = asdict(self)
        del settings["checkpoint_minutes"]
        return settings


def _integer(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > LARGEST:
        raise ValueError(f"{name} must be at most 2^63 - 1, got {short(value)}")


def _number(name: str, value: Any, expected: str, holds: Callable[[float], bool]) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {expected}, got {short(value)}") from None
    if not holds(number):
        raise ValueError(f"{name} must be {expected}, got {value!r}")
