"""Tensors and a header of JSON in one safetensors file, with a hash of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learnmm.storage.configuration import listed, parse_json, short, shown
from learnmm.storage.files import write_file

VERSION = 1
_ENTRY = "learnmm"  # one entry: safetensors writes several in random order
_HASH = "sha256"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
STORED = frozenset(_DTYPES.values())
"""Dtypes of tensors that a file may hold."""


@dataclass(frozen=True)
class TensorFile:
    """A file whose header has been read and whose tensors have not.

    Attributes
    ----------
    path : Path
        The file.
    header : dict
        Its JSON.
    layout : dict of str to Tensor
        Shapes and dtypes of its tensors, on the device ``meta``: they take no memory.
    """

    path: Path
    header: dict[str, Any]
    layout: dict[str, Tensor]
    _file: Any

    def tensors(self) -> dict[str, Tensor]:
        """Read them; raise ValueError unless they have the hash that the header tells."""
        try:
            # Copies: the library hands out views of a file that others may write to.
            result = {name: self._file.get_tensor(name).clone() for name in self.layout}
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise ValueError(
                f"the tensors of {self.path} cannot be read: {shown(str(error))}"
            ) from error
        header = dict(self.header)
        if header.pop(_HASH) != _content(result, header):
            raise ValueError(f"{self.path} is damaged: its content does not match its hash")
        return result


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON header to a safetensors file, in one step as others see it.

    Raises
    ------
    TypeError
        For tensors of a dtype that could not be read again.
    """
    if refused := [f"{n} ({t.dtype})" for n, t in tensors.items() if t.dtype not in STORED]:
        raise TypeError(f"{path} cannot hold tensors of these dtypes: {listed(refused, ', ')}")
    entries = {"format": kind, "version": VERSION, **header}
    text = json.dumps({**entries, _HASH: _content(tensors, entries)}, sort_keys=True)
    write_file(path, _safetensors().torch.save(dict(tensors), {_ENTRY: text}))


def read_tensors(
    path: Path, kind: str, entries: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; raise as :func:`open_tensors`."""
    with open_tensors(path, kind, entries) as file:
        return file.tensors(), file.header


@contextmanager
def open_tensors(path: Path, kind: str, entries: tuple[str, ...]) -> Iterator[TensorFile]:
    """Open what :func:`write_tensors` wrote, with these objects in its header.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it has to hold.
    entries : tuple of str
        Entries of the header that must be there, each an object.

    Yields
    ------
    TensorFile
        Its shapes are true: the sizes of its tensors add up to that of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If it cannot be read.
    ImportError
        Without safetensors, of the extra ``train``.
    ValueError
        If it is anything else than such a file.
    """
    library = _safetensors()
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        opened = library.safe_open(path, framework="pt")
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is no complete safetensors file ({shown(str(error))}); pickles are never read"
        ) from error
    with opened as file:
        yield TensorFile(path, _header(path, file, kind, entries), _layout(path, file), file)


def _header(path: Path, file: Any, kind: str, entries: tuple[str, ...]) -> dict[str, Any]:
    try:
        header = parse_json((file.metadata() or {})[_ENTRY])
        found = header["format"], header["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is a safetensors file, but not one of learnmm ({short(error)})"
        ) from error
    if found[0] != kind or type(found[1]) is not int or found[1] != VERSION:
        raise ValueError(
            f"{path} holds {short(found[0])}, version {short(found[1])}; "
            f"expected {kind!r}, version {VERSION}"
        )
    if missing := [name for name in entries if name not in header]:
        raise ValueError(f"{path} lacks {missing} in its header")
    if wrong := [name for name in entries if not isinstance(header[name], dict)]:
        raise ValueError(f"{path} has something else than an object as {wrong} in its header")
    if _HASH not in header:
        raise ValueError(f"{path} is damaged: it has no hash in its header")
    return header


def _layout(path: Path, file: Any) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    refused = []
    for name in file.keys():  # noqa: SIM118
        try:
            part = file.get_slice(name)
            dtype, shape = part.get_dtype(), part.get_shape()
            result[name] = torch.empty(shape, dtype=_DTYPES[dtype], device="meta")
        except OSError:
            raise
        except Exception as error:  # dtypes that we do not write, sizes beyond any address
            refused.append(f"{shown(name)} ({short(error)})")
    if refused:
        raise ValueError(f"{path} holds tensors that cannot be read: {listed(refused)}")
    return result


def _content(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Return the hash of the header and of the name, dtype, shape and bytes of every tensor."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        about = [name, str(tensor.dtype), list(tensor.shape)]
        digest.update(json.dumps(about).encode())
        # Bytes as they are: NumPy has no bfloat16.
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "weights are stored with safetensors: pip install 'learnmm[train]'"
        ) from error
    return safetensors
