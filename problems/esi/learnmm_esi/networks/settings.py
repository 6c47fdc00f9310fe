"""What defines a method: enough to build it again from a file of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from learnmm.storage import short, shown
from learnmm_esi.networks.methods import METHODS

Start = Literal["learned", "sLORETA", "MNE", "noise"]

FIXED_LENGTH = ("meta-curvature", "modgrad")
"""Methods that are tied to the number of time samples they were trained with."""

UNVERIFIED = ("r-mm-net", "4dvarnet", "meta-curvature", "modgrad")
"""Methods without a safeguard."""

LEARNED_START = ("mm-net", "r-mm-net")
"""Methods whose start is learned unless the settings say otherwise."""


MOST_STEPS, LARGEST = 10_000, 2**20
"""Limits of steps and sizes, far beyond what can be trained."""


@dataclass(frozen=True)
class MethodSettings:
    """A method of Table I.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    steps : int
        Steps of a reconstruction (10 in the paper), at most 10 000.
    hidden : int
        Feature channels of the recurrent networks (48 in the paper).
    width : int
        Channels inside the autoencoder (128 in the paper).
    reach : int
        Kernel length of the autoencoder in samples (3 in the paper, for about as many weights).
    kernel : int
        Kernel length of all other convolutions in samples.
    start : {"learned", "sLORETA", "MNE", "noise"}, optional
        First iterate; "learned" is trained before the steps are, "noise" is the paper's. Default:
        "learned" for `LEARNED_START` methods, else "sLORETA".
    weight : float, optional
        Weight of the prior at first (1 in the paper). Default: 20 with a learned start, where the
        prior has learned too and may hold back the fit of noise; else 1.
    learn_weight : bool
        Whether the weight is learned from there.
    times : int
        Samples of a training recording: of what `train` simulates. `FIXED_LENGTH` methods serve no
        other.
    sfreq : float
        Its sampling rate in Hz: a preset's is the one that `train` simulates.

    Raises
    ------
    ValueError
        For an unknown method, naming those there are, and for what is no such setting.
    """

    method: str = "mm-net"
    steps: int = 10
    hidden: int = 48
    width: int = 384
    reach: int = 1
    kernel: int = 3
    start: Start | None = None
    weight: float | None = None
    learn_weight: bool = True
    times: int = 64
    sfreq: float = 512.0

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if not isinstance(self.method, str) or self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("steps", "hidden", "width", "reach", "kernel", "times"):
            check_integer(name, getattr(self, name), 1, MOST_STEPS if name == "steps" else LARGEST)
        for name in ("kernel", "reach"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.start is None:
            learned: Start = "learned" if self.method in LEARNED_START else "sLORETA"
            object.__setattr__(self, "start", learned)
        if self.start not in get_args(Start):
            raise ValueError(f"start must be one of {get_args(Start)}, got {short(self.start)}")
        if self.weight is None:
            object.__setattr__(self, "weight", 20.0 if self.start == "learned" else 1.0)
        for name in ("weight", "sfreq"):
            value = getattr(self, name)
            if not is_number(value) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {short(value)}")
        if not isinstance(self.learn_weight, bool):
            raise ValueError(f"learn_weight must be true or false, got {short(self.learn_weight)}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return asdict(self)


T = TypeVar("T")


def settings_of(kind: type[T], values: Any, path: object, section: str) -> T:
    """Make settings of what a file holds; raise ValueError, naming the place, if it holds others.

    Parameters
    ----------
    kind : type
        A dataclass. Fields that are dataclasses are made of tables within.
    values : object
        What the file has there; anything but a mapping of its fields is refused.
    path, section
        Name the place in messages.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: [{section}] must be a table of settings, got {short(values)}")
    known = sorted(f.name for f in fields(kind))  # type: ignore[arg-type]
    kinds = get_type_hints(kind)
    made = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(
                f"{path}: unknown setting '{shown(str(key))}' in [{section}]; there are "
                f"{', '.join(known)}"
            )
        inner = is_dataclass(kinds[key])
        made[key] = settings_of(kinds[key], value, path, f"{section}.{key}") if inner else value
    try:
        return kind(**made)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: [{section}]: {error}") from error


def check_integer(name: str, value: Any, least: int, most: int) -> None:
    """Raise a ValueError unless the value is an integer in these limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        positive = "a positive integer" if least == 1 else f"an integer of {least} or more"
        raise ValueError(f"{name} must be {positive}, at most {most}, got {short(value)}")


def is_number(value: Any) -> bool:
    """Whether a value is a number that floating point can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1000
