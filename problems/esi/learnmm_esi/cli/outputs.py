"""Whether results can be written, found out before they are computed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from learnmm.storage import remove_leftovers

__all__ = ["make_writable"]

_DAY = 86_400.0  # seconds after which no process still writes to a temporary folder


def make_writable(folder: Path) -> None:
    """Make a folder, so that what takes minutes does not end with files that cannot be written.

    What a process that was killed left there more than a day ago is removed.

    Raises
    ------
    OSError
        If there is none and none can be made, or no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(f"{folder} must be a folder, but is a file") from error
    with tempfile.TemporaryFile(dir=folder):
        pass
    remove_leftovers(folder, "*", older_than=_DAY)
