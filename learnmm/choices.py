"""Settings with a few named values: what a user passes becomes one of them, or a clear error."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

__all__ = ["chosen"]

Choice = TypeVar("Choice", bound=StrEnum)


def chosen(choices: type[Choice], value: Choice | str, setting: str) -> Choice:
    """Return the choice that a string names.

    Parameters
    ----------
    choices : type of StrEnum
        What there is to choose from.
    value : str
        One of the choices, or its value.
    setting : str
        Whose setting it is, for the error, such as "MatrixMap: form".

    Raises
    ------
    ValueError
        For anything else; the message lists the choices.

    Examples
    --------
    >>> class Boundary(StrEnum):
    ...     CIRCULAR = "circular"
    ...     ZERO = "zero"
    >>> chosen(Boundary, "zero", "convolution: boundary")
    <Boundary.ZERO: 'zero'>
    >>> chosen(Boundary, "mirror", "convolution: boundary")
    Traceback (most recent call last):
    ...
    ValueError: convolution: boundary must be 'circular' or 'zero', got 'mirror'
    """
    if isinstance(value, choices):
        return value
    try:
        return choices(value)
    except ValueError:
        *others, last = (repr(choice.value) for choice in choices)
        known = f"{', '.join(others)} or {last}"
        raise ValueError(f"{setting} must be {known}, got {value!r}") from None
