"""Files that MNE-Python reads, and what to say of one that it cannot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import mne

__all__ = ["read_covariance", "reading"]


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Raise a ValueError that names the file and what it should have been.

    Of a damaged file MNE's readers may say anything, from KeyError to the end of a stream. That
    there is no such file, or that it must not be read, they say well.

    Parameters
    ----------
    path : path
        The file that is read inside.
    what : str
        What it should hold, such as "forward solution".
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ValueError(f"{os.fspath(path)} holds no {what} that can be read ({told})") from error


def read_covariance(path: str | os.PathLike[str]) -> mne.Covariance:
    """Read a noise covariance; raise a ValueError that names the file if it holds none."""
    with reading(path, "noise covariance"):
        return mne.read_cov(path, verbose="ERROR")
