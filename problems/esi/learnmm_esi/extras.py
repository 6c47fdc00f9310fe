"""Name the extra to install where one of its packages is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["needs_extra"]


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Raise an ImportError that says what to install, instead of "No module named ...".

    Parameters
    ----------
    extra : str
        The extra of learnmm whose packages are imported inside.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "learnmm", "learnmm_problems"):
            raise
        raise ImportError(
            f"the package {package} is missing: pip install 'learnmm[{extra}]'", name=error.name
        ) from error
