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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import platformdirs
import torch

from learnmm.storage import read_tensors, remove_leftovers, write_tensors

__all__ = [
    "ArrayCache",
    "CorruptCacheError",
    "cache_directory",
    "cache_key",
    "read_arrays",
    "write_arrays",
]

ENVIRONMENT_VARIABLE = "LEARNMM_CACHE"
KIND = "learnmm cache"
DAY = 86_400.0  # seconds after which no writer of a temporary file is alive
_logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
Header = dict[str, object]
Kept = TypeVar("Kept")


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


class ArrayCache:
    """A folder of files of arrays, each made when it is first asked for.

    Parameters
    ----------
    folder : Path
        Where they are; it is made if needed.
    what : str
        What they hold, for the log: "the head model".
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self.what = folder, what
        self._writable: bool | None = None

    def get(
        self,
        name: str,
        read: Callable[[Arrays, Header], Kept],
        make: Callable[[], tuple[Arrays, Header]],
    ) -> Kept:
        """Read what a file holds; make it, and the file, where there is none to trust.

        Parameters
        ----------
        name : str
            Of the file, without its suffix.
        read : callable
            Of the arrays and the header, what they hold; it raises `CorruptCacheError` for those
            of something else.
        make : callable
            Returns the arrays and the header, of JSON values.
        """
        path = self.folder / f"{name}.safetensors"
        try:
            return read(*read_arrays(path))
        except FileNotFoundError:
            pass
        except CorruptCacheError as error:
            _logger.warning("making %s anew: %s", self.what, error)
        if self._writable is None:  # asked once, and before minutes are spent
            self._writable = _can_write(path)
        arrays, header = make()
        if self._writable:
            try:
                write_arrays(path, arrays, header)
            except OSError as error:
                _say(path, error)
        return read(arrays, header)


def _can_write(path: Path) -> bool:
    """Whether a file can be written there; if not, the log has a warning.

    Temporary files of writers that were killed are removed.
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
    return True


def write_arrays(path: Path, arrays: Arrays, header: Header) -> None:
    """Write arrays and a JSON header to a safetensors file, in one step as others see it.

    Parameters
    ----------
    path : Path
        The file; its folder is made if needed.
    arrays : dict of str to ndarray
        What to keep.
    header : dict
        JSON values to keep with it.

    Raises
    ------
    OSError
        If the file cannot be written; it names the file.
    """
    tensors = {name: torch.tensor(array).contiguous() for name, array in arrays.items()}
    write_tensors(path, tensors, KIND, {"header": header})


def read_arrays(path: Path) -> tuple[Arrays, Header]:
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
