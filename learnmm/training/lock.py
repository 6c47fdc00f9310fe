"""One training per folder: who holds a folder, and that nobody else does."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs.

    The lock is the operating system's: it ends with the process, however that ends. The file that
    a killed process leaves behind locks nothing.

    Raises
    ------
    RuntimeError
        At once, if a training holds the folder; it says which process if that is known.
    ImportError
        Without filelock, of the extra ``train``.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise ImportError(
            "a training folder is locked with filelock: pip install 'learnmm[train]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RuntimeError(
            f"another training writes to {folder}{_holder(path)}: choose another folder, "
            "or wait for its end"
        ) from None
    try:
        with suppress(OSError):  # on a full disk it has no name, and is a lock all the same
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        # While it is held: whoever has opened it and gets the lock next finds it gone, and
        # starts anew.
        with suppress(OSError):
            path.unlink()
        lock.release()


def _holder(path: Path) -> str:
    try:
        text = path.read_bytes()[:200].decode("ascii")
    except (OSError, ValueError):
        return ""
    return f" ({text})" if text.isprintable() and text else ""
