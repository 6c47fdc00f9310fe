"""Files that others see either not at all, as they were, or complete."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TOKEN = re.compile(r"[0-9a-f]{4,16}")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file beside its place; it is moved there when the block ends well.

    Parameters
    ----------
    path : path
        The file to write; its folder is made if needed. One that exists stays as it is until the
        new one is complete and on the disk. What is no regular file, as ``/dev/stdout``, cannot be
        replaced and is written to directly.

    Yields
    ------
    Path
        Where to write: the same name, in a new folder beside `path`. Further files that the block
        makes there, as the second hemisphere of an ``.stc``, are moved with it. If the block
        fails, nothing of them stays.

    Raises
    ------
    IsADirectoryError
        If `path` is a folder.
    FileNotFoundError
        If the block has written nothing.
    OSError
        If the folder cannot be made or written to, or the disk is full; it names `path`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "result.txt"
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("done")
    >>> path.read_text()
    'done'
    """
    given = Path(path)
    if given.is_dir():
        raise IsADirectoryError(f"expected a file to write, but {given} is a folder")
    if given.exists() and not given.is_file():
        yield given
        return
    target = Path(os.path.realpath(given))  # of a link: what it points to
    folder = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        mode = folder.stat().st_mode & 0o666  # what the umask leaves, whoever writes the file
        yield folder / target.name
        written = sorted(folder.iterdir())
        if not written:
            raise FileNotFoundError(f"nothing was written for {given}")
        for file in written:
            file.chmod(mode)
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        for file in written:
            os.replace(file, target.with_name(file.name))
    except OSError as error:
        if error.errno is not None and str(error.filename or folder).startswith(str(folder)):
            error.filename, error.filename2 = str(given), None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file as a whole, see :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path, names: str, *, older_than: float = 0.0) -> None:
    """Remove what :func:`replacing` leaves of a writer that was killed.

    Parameters
    ----------
    folder : Path
        Where the files are.
    names : str
        Pattern of their names, as for :meth:`pathlib.Path.glob`.
    older_than : float
        Seconds for which nothing has been written there: 0 only where no writer can be alive.
    """
    for path in folder.glob(f".{names}.*"):
        if _TOKEN.fullmatch(path.name.rpartition(".")[2]) is None:
            continue
        try:
            if time.time() - path.stat().st_mtime < older_than:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except OSError:  # somebody else was faster, or may and we may not
            continue
