"""Arrays of a file that users bring along, whose sizes are looked at before any is read.

A compressed file may hold a thousand times its size, and its headers may say anything.
"""

from __future__ import annotations

import math
import os
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np

__all__ = ["read_arrays"]

NEEDED = ("leadfield", "positions", "neighbours", "channel_names")
FURTHER = ("normals", "distances")
MOST_SOURCES = 32_768  # two matrices of all pairs have 16 GiB then
MOST_EXPANDED = 64  # a lead field over what the file has of it: numbers hardly compress


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a bare lead field: the arguments of `head_model_from_leadfield` by their names.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no ``.npz`` file of plain arrays, or their names or shapes do not fit together;
        none of them is read then.
    """
    named, found = os.fspath(path), {}
    try:
        with ZipFile(path) as members:
            wrong = _wrong_names(members) or _wrong_shapes(members)
        if not wrong:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile may say anything of a file that is none
        raise ValueError(f"{named} is no .npz file of plain arrays: {error}") from error
    if wrong:
        raise ValueError(f"{named} {wrong}")
    return found


def _wrong_names(members: ZipFile) -> str:
    names = [name.removesuffix(".npy") for name in members.namelist()]
    missing = [name for name in NEEDED if name not in names]
    unknown = [name for name in names if name not in (*NEEDED, *FURTHER)]
    if not (missing or unknown or len(set(names)) < len(names)):
        return ""
    return (
        f"must hold {', '.join(NEEDED)}, and may hold {', '.join(FURTHER)}, each once; it lacks "
        f"{', '.join(missing) or 'none of them'}"
        f"{', and has ' + ', '.join(unknown) + ' besides' if unknown else ''}"
    )


def _wrong_shapes(members: ZipFile) -> str:
    """Say which array does not fit the lead field, or is larger than the file explains."""
    gain = members.getinfo("leadfield.npy")
    shape, size = _header(members, gain)
    if len(shape) != 2:
        return f"has a leadfield of shape {shape}; expected shape (sensors, sources)"
    sensors, sources = shape
    if size > MOST_EXPANDED * gain.compress_size:
        return (
            f"has a leadfield of {size} bytes in {gain.compress_size}: expected numbers, which do "
            f"not get {MOST_EXPANDED} times smaller"
        )
    if sources > MOST_SOURCES:
        return f"has {sources} sources; expected at most {MOST_SOURCES}"
    expected = {
        "positions": (sources, 3),
        "normals": (sources, 3),
        "neighbours": (sources, sources),
        "distances": (sources, sources),
        "channel_names": (sensors,),
    }
    for member in members.infolist():
        name = member.filename.removesuffix(".npy")
        found, _ = _header(members, member)
        if found != expected.get(name, shape):
            return f"has {name} of shape {found}; expected {expected[name]}, as of the leadfield"
    return ""


def _header(members: ZipFile, member: ZipInfo) -> tuple[tuple[int, ...], int]:
    """Shape of an array, and its bytes."""
    with members.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects, which would have to be unpickled")
    if (size := math.prod(shape) * dtype.itemsize) > member.file_size:
        raise ValueError(f"{member.filename} is shorter than its header says")
    return shape, size
