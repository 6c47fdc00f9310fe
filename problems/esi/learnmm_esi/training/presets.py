"""Settings of a training, from small files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from learnmm.plain import is_number
from learnmm.storage import short, shown
from learnmm.training import FitSettings
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.networks.method import Method
from learnmm_esi.networks.registry import method_class
from learnmm_esi.settings import (
    LARGEST,
    MOST_STEPS,
    check_integer,
    check_positive,
    check_size,
    read_toml,
    settings_of,
)
from learnmm_esi.training.losses import LOSSES

FOLDER = Path(__file__).parent / "presets"
PRESETS = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))

MOST_SAMPLES = 10**8


@dataclass(frozen=True)
class RecordingSettings:
    """What recordings are simulated, and how they are cut for the steps.

    Parameters
    ----------
    times : int, optional
        Samples of a recording. Default: those of the simulator.
    sfreq : float, optional
        Sampling rate in Hz. Default: that of the simulator.
    window : int
        Samples of the random windows that longer recordings are cut to; 0: whole recordings.
    """

    times: int | None = None
    sfreq: float | None = None
    window: int = 64

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.times is not None:
            check_size("times", self.times)
        if self.sfreq is not None:
            check_positive("sfreq", self.sfreq)
        check_integer("window", self.window, 0, LARGEST)

    @property
    def asked(self) -> dict[str, Any]:
        """Length and rate, where they are not the simulator's."""
        asked = {"times": self.times, "sfreq": self.sfreq}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True)
class TrainingSettings:
    """Data and loss of a training.

    Parameters
    ----------
    loss : str
        One of `losses.LOSSES`.
    horizons : (int, int)
        Fewest and most steps of a solve in training, drawn uniformly; the most is approached
        over the first half of the training.
    verified_from : float
        Share of the training from which on the safeguard is on, for the methods that have one.
    train_size, validation_size : int
        Samples of the two sets.
    seed : int
        Of the first weights and of the data: `seed` names the training set, `seed + 1` the
        validation set, and `seed + 2` the test set.
    """

    loss: str = "deep"
    horizons: tuple[int, int] = (4, 10)
    verified_from: float = 0.5
    train_size: int = 8000
    validation_size: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if not isinstance(self.loss, str) or self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        horizons = tuple(self.horizons) if isinstance(self.horizons, list | tuple) else ()
        if (
            len(horizons) != 2
            or not all(type(steps) is int for steps in horizons)
            or not 1 <= horizons[0] <= horizons[1] <= MOST_STEPS
        ):
            raise ValueError(
                f"horizons must be two integers, 1 <= fewest <= most <= {MOST_STEPS}, "
                f"got {short(self.horizons)}"
            )
        object.__setattr__(self, "horizons", horizons)
        if not is_number(self.verified_from) or not 0 <= self.verified_from < float("inf"):
            raise ValueError(
                "verified_from must be a share of the training, 0 or more, "
                f"got {short(self.verified_from)}"
            )
        for name in ("train_size", "validation_size"):
            check_integer(name, getattr(self, name), 1, MOST_SAMPLES)
        check_integer("seed", self.seed, 0, 2**62)


@dataclass(frozen=True)
class Preset:
    """Everything that a training depends on besides the data set and the head model.

    Parameters
    ----------
    method : Method
        What is trained.
    head : HeadModelSettings
        The library's head model to train on, unless another is given.
    recordings : RecordingSettings
        What recordings are simulated.
    start, fit : FitSettings
        How what learns before the steps is trained, and how the steps are.
    training : TrainingSettings
        Data and loss.
    """

    method: Method
    head: HeadModelSettings = field(default_factory=HeadModelSettings)
    recordings: RecordingSettings = field(default_factory=RecordingSettings)
    start: FitSettings = field(default_factory=lambda: FitSettings(steps=2000, batch_size=256))
    fit: FitSettings = field(default_factory=lambda: FitSettings(steps=2000))
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def as_dict(self) -> dict[str, Any]:
        """Return what a file of weights says of the training; `fit` stores its own settings."""
        return {"training": {**asdict(self.training), "window": self.recordings.window}}


def load_preset(name: str | Path, method: str) -> Preset:
    """Read a preset by its name, or any TOML file of the same form, for a method.

    Raises
    ------
    FileNotFoundError
        If there is none, naming those that come with the library.
    ValueError
        For an unknown method, section or setting, or one that is not possible.
    """
    kinds: dict[str, type[Any]] = {
        "method": method_class(method),
        "head": HeadModelSettings,
        "recordings": RecordingSettings,
        "start": FitSettings,
        "fit": FitSettings,
        "training": TrainingSettings,
    }
    path = FOLDER / f"{name}.toml" if str(name) in PRESETS else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"no preset and no file is called {str(name)!r}; presets: {', '.join(PRESETS)}"
        )
    content = {"method": {}, **read_toml(path)}
    unknown = sorted(set(content) - set(kinds))
    if unknown:
        raise ValueError(
            f"{path}: unknown section '{shown(unknown[0])}'; there are {', '.join(kinds)}"
        )
    return Preset(
        **{
            section: settings_of(kinds[section], values, path, section)
            for section, values in content.items()
        }
    )
