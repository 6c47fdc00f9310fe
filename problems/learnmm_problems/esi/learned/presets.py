"""Settings of a training, from small files."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from learnmm.training import FitSettings

from ..headmodel import HeadModelSettings
from .losses import LOSSES
from .settings import MethodSettings

FOLDER = Path(__file__).parent / "presets"
PRESETS = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))

DATA = ("erp", "nmm")


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
    window : int
        Samples of the random windows that long recordings are cut to; 0: whole recordings.
    seed : int
        Of the data: `seed` names the training set, `seed + 1` the validation set, and `seed + 2`
        the test set.
    """

    loss: str = "deep"
    horizons: tuple[int, int] = (4, 10)
    verified_from: float = 0.5
    train_size: int = 8000
    validation_size: int = 96
    window: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        object.__setattr__(self, "horizons", tuple(self.horizons))
        if len(self.horizons) != 2 or not 1 <= self.horizons[0] <= self.horizons[1]:
            raise ValueError(
                f"horizons must be two integers, 1 <= fewest <= most, got {self.horizons}"
            )
        if min(self.train_size, self.validation_size) < 1 or min(self.window, self.seed) < 0:
            raise ValueError("sizes must be at least 1, window and seed not negative")


@dataclass(frozen=True)
class Preset:
    """Everything that a training depends on besides the method's name and the data set."""

    head: HeadModelSettings = field(default_factory=HeadModelSettings)
    method: dict[str, Any] = field(default_factory=dict)
    start: FitSettings = field(default_factory=lambda: FitSettings(steps=2000, batch_size=256))
    fit: FitSettings = field(default_factory=lambda: FitSettings(steps=2000))
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def as_dict(self) -> dict[str, Any]:
        """Return what a file of weights says of the training; `fit` stores its own settings."""
        return {"training": asdict(self.training)}


def load_preset(name: str | Path) -> Preset:
    """Read a preset by its name, or any TOML file of the same form.

    Raises
    ------
    FileNotFoundError
        If there is none, naming those that come with the library.
    ValueError
        For an unknown section or setting, or one that is not possible.
    """
    path = FOLDER / f"{name}.toml" if str(name) in PRESETS else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"no preset and no file is called {str(name)!r}; presets: {', '.join(PRESETS)}"
        )
    try:
        content = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    kinds = {
        "head": HeadModelSettings,
        "method": MethodSettings,
        "start": FitSettings,
        "fit": FitSettings,
        "training": TrainingSettings,
    }
    unknown = sorted(set(content) - set(kinds))
    if unknown:
        raise ValueError(f"{path}: unknown section {unknown[0]!r}; there are {', '.join(kinds)}")
    for section, values in content.items():
        known = {f.name for f in fields(kinds[section])}
        for key in values:
            if key not in known:
                raise ValueError(
                    f"{path}: unknown setting {key!r} in [{section}]; there are "
                    f"{', '.join(sorted(known))}"
                )
    method = content.pop("method", {})
    MethodSettings(**method)  # fails here rather than after the data are made
    return Preset(method=method, **{key: kinds[key](**values) for key, values in content.items()})
