"""What defines a method: enough to build it again from a file of weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Start = Literal["learned", "sLORETA", "MNE", "noise"]

METHODS: dict[str, str] = {
    "mm-net": "any multipliers on the damped gradient, every step verified",
    "mm-net-a": "multipliers in the elementwise interval of the uniform bound",
    "mm-net-b": "multipliers in the metric of the structured majorant",
    "mm-net-c": "the same, with verified relaxation",
    "mm-net-d": "any multipliers on the gradient, every step verified",
    "r-mm-net": "MM-Net without safeguard",
    "4dvarnet": "4DVarNet: a ConvLSTM on the gradient, not verified",
    "meta-curvature": "Meta-Curvature: two matrices around the gradient, not verified",
    "modgrad": "ModGrad: a low-rank mask on the gradient, not verified",
}

FIXED_LENGTH = ("meta-curvature", "modgrad")
"""Methods that are tied to the number of time samples they were trained with."""

UNVERIFIED = ("r-mm-net", "4dvarnet", "meta-curvature", "modgrad")
"""Methods without a safeguard."""

LEARNED_START = ("mm-net", "r-mm-net")
"""Methods whose start is learned unless the settings say otherwise."""


@dataclass(frozen=True)
class MethodSettings:
    """A method of Table I.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    steps : int
        Steps of a reconstruction (10 in the paper).
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
        For an unknown method, naming those there are.
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
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("steps", "hidden", "width", "reach", "kernel", "times"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        for name in ("kernel", "reach"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.start is None:
            learned: Start = "learned" if self.method in LEARNED_START else "sLORETA"
            object.__setattr__(self, "start", learned)
        if self.start not in get_args(Start):
            raise ValueError(f"start must be one of {get_args(Start)}, got {self.start!r}")
        if self.weight is None:
            object.__setattr__(self, "weight", 20.0 if self.start == "learned" else 1.0)
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be positive and finite, got {self.weight}")
        if not self.sfreq > 0:
            raise ValueError(f"sfreq must be positive, got {self.sfreq}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return asdict(self)
