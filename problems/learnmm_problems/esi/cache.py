"""Keep named arrays on disk between runs, and trust no file that is not whole.

A file is written beside its final name and moved there in one step, so that a reader never sees
half of it, whoever else is writing. It carries a hash of its content; a file that does not match,
does not parse or holds non-finite numbers where they do not belong is as good as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import platformdirs
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

__all__ = ["CorruptCacheError", "cache_directory", "cache_key", "read_arrays", "write_arrays"]

ENVIRONMENT_VARIABLE = "LEARNMM_CACHE"
METADATA_KEY = "learnmm"


class CorruptCacheError(Exception):
    """A cache file exists and cannot be trusted; the message says why."""


def cache_directory(cache_dir: str | os.PathLike | None = None) -> Path:
    """Return where files are kept: `cache_dir`, else ``$LEARNMM_CACHE``, else the user's cache."""
    chosen = cache_dir or os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("learnmm"))


def cache_key(settings: Mapping[str, object]) -> str:
    """Return a short name that differs whenever `settings` (JSON values) differ."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(header, sort_keys=True)
    whole = {"header": text, "content": _content_hash(arrays, text)}
    # One entry, because safetensors writes several in random order: same content, same bytes.
    metadata = {METADATA_KEY: json.dumps(whole, sort_keys=True)}
    # Not tempfile: its files are private, and a cache may be shared by a group.
    temporary = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.part")
    try:
        save_file(arrays, temporary, metadata=metadata)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
        If the file is no complete safetensors file or its content does not match its hash.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptCacheError(f"{path.name} is no readable safetensors file: {error}") from error
    try:
        whole = json.loads(metadata[METADATA_KEY])
        header, content = whole["header"], whole["content"]
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptCacheError(f"{path.name} lacks its header") from error
    if content != _content_hash(arrays, header):
        raise CorruptCacheError(f"the content of {path.name} does not match its hash")
    return arrays, json.loads(header)


def _content_hash(arrays: Mapping[str, np.ndarray], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
