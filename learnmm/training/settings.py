"""How a model is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from learnmm.plain import is_integer, make_plain, plain
from learnmm.storage import short

LARGEST = 2**63 - 1  # integers of generators
PRECISIONS = ("32-true", "bf16-mixed", "auto")


@dataclass(frozen=True)
class AdamSettings:
    """How Adam moves the weights, and which of them are kept.

    Attributes
    ----------
    lr : float
        Largest learning rate.
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
    """

    lr: float = 1e-3
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    warmup: int = 20
    final_lr: float = 0.01
    clip: float | None = 0.5
    ema: float | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("lr", self.lr, "positive and finite", lambda lr: 0 < lr < math.inf)
        if not isinstance(self.lr_factors, Mapping):
            raise TypeError(f"lr_factors must be a mapping, got {type(self.lr_factors).__name__}")
        factors = {name: plain(factor) for name, factor in self.lr_factors.items()}
        object.__setattr__(self, "lr_factors", factors)
        for name, factor in self.lr_factors.items():
            if not isinstance(name, str):
                raise TypeError(f"lr_factors must have prefixes of names as keys, got {name!r}")
            where, expected = f"lr_factors[{name!r}]", "at least 0 and finite"
            check_number(where, factor, expected, lambda factor: 0 <= factor < math.inf)
        check_integer("warmup", self.warmup, 0)
        check_number("final_lr", self.final_lr, "in [0, 1]", lambda share: 0 <= share <= 1)
        if self.clip is not None:
            check_number("clip", self.clip, "positive, or None", lambda norm: norm > 0)
        if self.ema is not None:
            check_number("ema", self.ema, "in (0, 1), or None", lambda decay: 0 < decay < 1)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step 0, 1, ..., ``steps - 1``."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, steps - 1 - self.warmup)
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.lr * (self.final_lr + (1 - self.final_lr) * cosine)


@dataclass(frozen=True)
class FitSettings:
    """What the numbers of :func:`learnmm.fit` depend on, refused where it cannot work.

    Attributes
    ----------
    steps : int
        Optimizer steps in all. A run that is resumed may be made longer or shorter: from there on
        its rates follow the new number.
    batch_size : int
        Samples per step, over all processes together.
    adam : AdamSettings
        How the weights move.
    precision : str
        ``"32-true"``: the model's own dtype. ``"bf16-mixed"``: its forward pass under autocast,
        which is slow on a processor without instructions for it, as many have none. ``"auto"``:
        the second where the hardware computes in bfloat16, else the first; the result says which.
    validate_every : int
        Steps between two validations; there is one more at the end.
    patience : int or None
        Stop after this many validations in a row without a new best loss.
    seed : int
        Seeds the order of the samples and the global generators at every step.
    """

    steps: int
    batch_size: int = 32
    adam: AdamSettings = field(default_factory=AdamSettings)
    precision: str = "32-true"
    validate_every: int = 100
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        make_plain(self)
        check_integer("steps", self.steps, 1)
        check_integer("batch_size", self.batch_size, 1)
        if not isinstance(self.adam, AdamSettings):
            raise TypeError(f"adam must be AdamSettings, got {type(self.adam).__name__}")
        if self.adam.warmup > self.steps:
            raise ValueError(f"warmup must be at most steps={self.steps}, got {self.adam.warmup}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        check_integer("validate_every", self.validate_every, 1)
        if self.patience is not None:
            check_integer("patience", self.patience, 1)
        check_integer("seed", self.seed, 0)

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, ..., ``steps - 1``."""
        return self.adam.rate(step, self.steps)


def check_integer(name: str, value: Any, least: int) -> None:
    """Raise unless a setting is an integer that generators can take, and not too small."""
    if not is_integer(value):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > LARGEST:
        raise ValueError(f"{name} must be at most 2^63 - 1, got {short(value)}")


def check_number(name: str, value: Any, expected: str, holds: Callable[[float], bool]) -> None:
    """Raise unless a setting is a number of the kind that is expected."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {expected}, got {short(value)}") from None
    if not holds(number):
        raise ValueError(f"{name} must be {expected}, got {value!r}")
