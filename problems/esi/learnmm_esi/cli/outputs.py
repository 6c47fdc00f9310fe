"""Whether results can be written, found out before they are computed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from learnmm.storage import remove_leftovers

__all__ = ["draw_to_files", "make_writable"]

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


def draw_to_files(picture: Path | None = None) -> None:
    """Draw pictures to files only from here on, since a server has no display.

    Raises
    ------
    ValueError
        If the name of a picture ends with no known kind of file.
    """
    import matplotlib
    from matplotlib.backend_bases import FigureCanvasBase

    matplotlib.use("agg")
    known = FigureCanvasBase.get_supported_filetypes()
    if picture is not None and picture.suffix[1:].lower() not in known:
        raise ValueError(
            f"a picture's name must end with one of .{', .'.join(sorted(known))}, "
            f"got {picture.name!r}"
        )
