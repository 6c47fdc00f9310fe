"""Settings out of files that anybody may have written: made of what is right, or refused."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from learnmm.plain import is_integer, is_number, plain
from learnmm.storage import short, shown

MOST_STEPS, LARGEST = 10_000, 2**20
"""Limits of steps and sizes, far beyond what can be trained."""

MOST_SEED = 2**63 - 1

LARGEST_FILE = 2**20  # bytes; files of settings have a few hundred

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
        if isinstance(value, list) and "tuple" in str(kinds[key]):
            value = tuple(value)
        made[key] = settings_of(kinds[key], value, path, f"{section}.{key}") if inner else value
    try:
        return kind(**made)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: [{section}]: {error}") from error


def check_size(name: str, value: Any, *, odd: bool = False) -> None:
    """Raise a ValueError unless the value can be a size, an odd one where that is asked for."""
    check_integer(name, value, 1, LARGEST)
    if odd and value % 2 == 0:
        raise ValueError(f"{name} must be odd, got {value}")


def check_integer(name: str, value: Any, least: int, most: int) -> None:
    """Raise a ValueError unless the value is an integer in these limits."""
    if not is_integer(value) or not least <= value <= most:
        positive = "a positive integer" if least == 1 else f"an integer of {least} or more"
        raise ValueError(f"{name} must be {positive}, at most {most}, got {short(value)}")


def seed_and_size(of: str, seed: Any, size: Any) -> tuple[int, int]:
    """Return the seed and the size of a simulation; raise a ValueError unless they are such."""
    seed, size = plain(seed), plain(size)
    check_integer(f"{of}: seed", seed, 0, MOST_SEED)
    check_integer(f"{of}: size", size, 1, MOST_SEED)
    return seed, size


def check_positive(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a positive, finite number."""
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {short(value)}")


def check_not_negative(name: str, value: Any) -> None:
    """Raise a ValueError unless the value is a finite number of zero or more."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be zero or more and finite, got {short(value)}")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a small TOML file; raise ValueError for anything else."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{path} holds no settings: it has more than {LARGEST_FILE} bytes")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid TOML: {shown(str(error))}") from error
