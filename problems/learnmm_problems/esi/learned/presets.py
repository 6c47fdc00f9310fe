"""Settings of a training, from small files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

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
        Of the first weights and of the data: `seed` names the training set, `seed + 1` the
        validation set, and `seed + 2` the test set.
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
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
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
    made = {
        section: _section(path, section, kinds[section], values)
        for section, values in content.items()
    }
    if "method" in made:
        made["method"] = content["method"]  # the command says which one
    return Preset(**made)


def _section(path: Path, section: str, kind: type, values: Any) -> Any:
    """Make the settings of one section, or say which of them cannot be."""
    where = f"{path}: [{section}]"
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a section with settings, got {values!r}")
    types = get_type_hints(kind)
    if section == "method":
        del types["method"]  # given with the command, as the data are
    for key, value in values.items():
        if key not in types:
            raise ValueError(
                f"{path}: unknown setting {key!r} in [{section}]; there are "
                f"{', '.join(sorted(types))}"
            )
        if not _is(value, types[key]):
            raise ValueError(f"{where} {key} must be {_words(types[key])}, got {value!r}")
    for each in fields(kind):
        if each.default is MISSING is each.default_factory and each.name not in values:
            raise ValueError(f"{where} {each.name} is missing")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} {error}") from error


def _is(value: Any, kind: Any) -> bool:
    """Whether a value of TOML is of a type that a dataclass names."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in inner)
    if origin is Literal:
        return isinstance(value, str)  # which one, the dataclass says better
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(inner) and all(map(_is, value, inner))
    if origin is Mapping:
        return isinstance(value, dict) and all(_is(part, inner[1]) for part in value.values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _words(kind: Any) -> str:
    """Name a type of `_is`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in inner if part is not NoneType)
    if origin is tuple:
        return f"a list of {len(inner)}, each {_words(inner[0])}"
    if origin is Mapping:
        return f"a section of names, each {_words(inner[1])}"
    return {int: "an integer", float: "a finite number", bool: "true or false"}.get(kind, "a text")
