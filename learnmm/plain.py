"""NumPy's numbers become Python's where settings, weights and bounds come in."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["make_plain", "plain"]


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
    number = isinstance(value, np.generic) and value.dtype.kind in "biuf"
    return value.item() if number else value


def make_plain(settings: DataclassInstance) -> None:
    """Do so with every field of frozen settings, from their ``__post_init__``."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(settings, field.name, plain(value))
