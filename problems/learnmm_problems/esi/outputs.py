"""Files of results: either not there, or as they were, or whole; and checked for beforehand."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["make_writable", "whole_files"]

_PREFIX = ".learnmm-"
_DAY = 86_400.0  # seconds after which no process still writes to a temporary folder


def make_writable(folder: Path) -> None:
    """Make a folder, so that what takes minutes does not end with files that cannot be written.

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


@contextlib.contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, whose files move to `folder` when all of them are written.

    Each moves in one step, so that a reader sees it whole or as it was before. Their names are
    their final ones, since MNE-Python and matplotlib take the format from the name. What raises
    inside leaves nothing behind; folders that a killed process left are removed after a day.

    Parameters
    ----------
    folder : Path
        Made if needed. Files of the same names are replaced; whatever else bears such a name, a
        device or a folder, is an error.

    Yields
    ------
    Path
    """
    make_writable(folder)
    for left in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process may be removing it
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        yield temporary
        written = sorted(temporary.iterdir())
        for path in written:
            final = folder / path.name
            if final.exists() and not final.is_file():
                raise FileExistsError(f"{final} is there already, and is no file to replace")
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for path in written:
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
