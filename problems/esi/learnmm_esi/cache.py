"""Keep named arrays on disk between runs, and trust no file that is not whole.

A file is written beside its final name and moved there in one step, so that a reader never sees
half of it, whoever else is writing. It carries a hash of its content; a file that does not match,
does not parse or holds non-finite numbers where they do not belong is as good as absent. Without a
place to keep files everything works as well, if more slowly the next time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import platformdirs
import torch

from learnmm.storage import read_tensors, remove_leftovers, write_tensors

__all__ = [
    "CorruptCacheError",
    "cache_directory",
    "cache_key",
    "can_keep",
    "keep_arrays",
    "read_arrays",
    "write_arrays",
]

ENVIRONMENT_VARIABLE = "LEARNMM_CACHE"
KIND = "learnmm cache"
DAY = 86_400.0  # seconds after which no writer of a temporary file is alive
_logger = logging.getLogger(__name__)


class CorruptCacheError(Exception):
    """A cache file exists and cannot be trusted; the message says why."""


def cache_directory(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where files are kept: `cache_dir`, else ``$LEARNMM_CACHE``, else the user's cache.

    ``~`` in it is the user's home.
    """
    chosen = cache_dir or os.environ.get(ENVIRONMENT_VARIABLE)
    if not chosen:
        return Path(platformdirs.user_cache_dir("learnmm"))
    return Path(os.path.expanduser(chosen))


def cache_key(settings: Mapping[str, object]) -> str:
    """Return a short name that differs whenever `settings` (JSON values) differ."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def can_keep(path: Path) -> bool:
    """Whether a file can be written there; to be asked before what it is to hold is computed.

    If not, the log has a warning. Temporary files of writers that were killed are removed.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b"x")
    except OSError as error:
        _say(path, error)
        return False
    remove_leftovers(path.parent, "*.safetensors", older_than=DAY)
    for old in path.parent.glob("*-" + "[0-9a-f]" * 32 + ".part"):  # of versions before this one
        try:
            if time.time() - old.stat().st_mtime > DAY:
                old.unlink()
        except OSError:  # somebody else was faster
            continue
    return True


def keep_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, object]) -> None:
    """Write as `write_arrays` does, or say in the log why that is not possible."""
    try:
        write_arrays(path, arrays, header)
    except OSError as error:
        _say(path, error)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, object]
) -> None:
    """Write arrays and a JSON header to a safetensors file, in one step as others see it.

    Parameters
    ----------
    path : Path
        The file; its folder is made if needed.
    arrays : mapping of str to ndarray
        What to keep.
    header : mapping
        JSON values to keep with it.

    Raises
    ------
    OSError
        If the file cannot be written; it names the file.
    """
    tensors = {name: torch.tensor(array).contiguous() for name, array in arrays.items()}
    write_tensors(path, tensors, KIND, {"header": dict(header)})


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Read what `write_arrays` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    arrays : dict of str to ndarray
    header : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CorruptCacheError
        If the file is no complete file of `write_arrays`, its content does not match its hash, or
        it cannot be read.
    """
    try:
        tensors, header = read_tensors(path, KIND, ("header",))
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise CorruptCacheError(str(error)) from error
    return {name: tensor.numpy() for name, tensor in tensors.items()}, header["header"]


def _say(path: Path, error: OSError) -> None:
    _logger.warning(
        "nothing is kept in %s for the next time (%s): set %s to a folder that can be written to",
        path.parent,
        error.strerror or error,
        ENVIRONMENT_VARIABLE,
    )
