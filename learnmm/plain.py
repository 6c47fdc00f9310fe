"""What users give as numbers: NumPy's become Python's, and what is none is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "flag",
    "integer",
    "is_integer",
    "is_number",
    "make_plain",
    "number",
    "plain",
    "require_numbers",
]


def plain(value: Any) -> Any:
    """Return Python's number of a NumPy one, which files and comparisons of types know.

    Parameters
    ----------
    value : Any
        What came.

    Returns
    -------
    Any
        A bool, int or float for a NumPy scalar of such a kind; anything else as it is.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.int64(3)), plain(np.float32(0.5)), plain("auto")
    (3, 0.5, 'auto')
    """
    numeric = isinstance(value, np.generic) and value.dtype.kind in "biuf"
    return value.item() if numeric else value


def make_plain(settings: DataclassInstance) -> None:
    """Do so with every field of frozen settings, from their ``__post_init__``."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(settings, field.name, plain(value))


def require_numbers(settings: DataclassInstance) -> None:
    """Raise TypeError, naming the setting, unless every field of settings is a number."""
    for field in fields(settings):
        number(f"{type(settings).__name__}: {field.name}", getattr(settings, field.name))


def is_number(value: Any) -> bool:
    """Whether a value is a number that floating point can hold: no bool, no integer of 1e400."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1000


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(what: str, value: Any) -> float:
    """Return a number as Python's; raise TypeError, naming what came, for anything else."""
    found: float = plain(value)
    if not is_number(found):
        raise TypeError(f"{what} must be a number, got {value!r:.60}")
    return found


def integer(what: str, value: Any, least: int) -> int:
    """Return an integer as Python's; raise ValueError for anything else, or if it is less."""
    found: int = plain(value)
    if not is_integer(found) or found < least:
        raise ValueError(f"{what} must be an integer of at least {least}, got {value!r:.60}")
    return found


def flag(what: str, value: Any) -> bool:
    """Return True or False as Python's; raise TypeError for anything else."""
    found: bool = plain(value)
    if not isinstance(found, bool):
        raise TypeError(f"{what} must be True or False, got {value!r:.60}")
    return found
