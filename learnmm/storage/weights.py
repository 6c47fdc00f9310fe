"""Weights on disk: safetensors files that carry the configuration they belong to.

Nothing is ever unpickled, and nothing is changed before everything has been checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from learnmm.storage.files import write_file

WEIGHTS = "learnmm weights"
VERSION = 1
HALF = torch.float16
HEADER = ("config", "notes", "dtypes")
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
_ENTRY = "learnmm"  # one entry: safetensors writes several in random order


def save_weights(
    path: str | os.PathLike[str],
    module: nn.Module,
    config: Mapping[str, Any],
    *,
    half: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the state of a module and its configuration to one safetensors file, atomically.

    Parameters
    ----------
    path : path
        The file. One that exists is replaced as a whole, or left alone if anything fails.
    module : torch.nn.Module
        Its ``state_dict()`` is stored: parameters and persistent buffers.
    config : Mapping
        What is needed to build the module again. Whatever JSON can say; tuples become lists.
    half : bool
        Store floating-point tensors as float16. :func:`load_weights` gives their dtype back, with
        11 bits of mantissa.
    notes : Mapping, optional
        What is known about these weights, such as their loss. Read by :func:`load_notes`.

    Raises
    ------
    ImportError
        Without safetensors, of the extra ``train``.
    TypeError
        If `config` or `notes` hold what JSON cannot say, or the state holds more than tensors.
    ValueError
        If a tensor is not finite, as stored.
    """
    write_weights(Path(path), state_tensors(module), config, half=half, notes=notes)


def write_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    half: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors of :func:`state_tensors` as :func:`save_weights` does."""
    stored, dtypes = dict(tensors), {}
    for name, tensor in tensors.items():
        if half and (dtype := str(tensor.dtype).removeprefix("torch.")) in _DTYPES:
            stored[name] = tensor.to(HALF)
            dtypes[name] = dtype
    if bad := not_finite(stored):
        where = " as float16" if half else ""
        raise ValueError(f"weights must be finite{where} to be stored, but are not: {bad}")
    header = {
        "config": as_json(config, "config"),
        "notes": as_json(notes or {}, "notes"),
        "dtypes": dtypes,
    }
    write_tensors(path, stored, WEIGHTS, header)


def load_weights(
    path: str | os.PathLike[str],
    module: nn.Module | None = None,
    *,
    expect: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of :func:`save_weights`, and fill a module with it if one is given.

    Parameters
    ----------
    path : path
        The file.
    module : torch.nn.Module, optional
        Filled in place, wherever it is, after names, shapes and dtypes have been compared.
    expect : Mapping, optional
        Entries that the stored configuration must have.

    Returns
    -------
    tensors : dict of str to Tensor
        The state on the CPU, in the dtypes it had.
    config : dict
        The configuration.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        Without safetensors, of the extra ``train``.
    ValueError
        If it is not a complete file of :func:`save_weights`, does not fit the module, holds what is
        not finite, or has another configuration. The module is as it was.
    """
    path = Path(path)
    tensors, header = read_tensors(path, WEIGHTS, HEADER)
    for name, dtype in header["dtypes"].items():
        tensors[name] = tensors[name].to(_DTYPES[dtype])
    config: dict[str, Any] = header["config"]
    if expect is not None:
        wanted = as_json(expect, "expect")
        stored = {name: config[name] for name in wanted if name in config}
        if found := differences(stored, wanted):
            raise ValueError(f"{path} has another configuration: {'; '.join(found)}")
    if bad := not_finite(tensors):
        raise ValueError(f"{path} holds weights that are not finite: {bad}")
    if module is not None:
        check_fit(path, tensors, state_tensors(module))
        module.load_state_dict(tensors)
    return tensors, config


def load_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the notes of :func:`save_weights`; raises as :func:`load_weights`."""
    notes: dict[str, Any] = read_tensors(Path(path), WEIGHTS, HEADER)[1]["notes"]
    return notes


def state_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Copy the state of a module to the CPU, one contiguous tensor per name."""
    tensors = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the state of {type(module).__name__} must be tensors, "
                f"but {name!r} is {type(value).__name__}"
            )
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
    return tensors


def check_fit(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise unless the file has the names, shapes and dtypes that are wanted."""
    found = [f"{name} is missing" for name in wanted if name not in tensors]
    found += [f"{name} is not in the module" for name in tensors if name not in wanted]
    for name in wanted.keys() & tensors.keys():
        have, want = tensors[name], wanted[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            found.append(
                f"{name} has shape {tuple(have.shape)} and dtype {have.dtype}, "
                f"expected {tuple(want.shape)} and {want.dtype}"
            )
    if found:
        raise ValueError(f"{path} does not fit the module: {'; '.join(sorted(found))}")


def differences(stored: Any, wanted: Any, at: str = "") -> list[str]:
    """List, entry by entry, where two values of JSON differ."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        found = []
        for name in sorted(stored.keys() | wanted.keys()):
            where = f"{at}.{name}" if at else name
            if name not in stored:
                found.append(f"{where} is not in the file, expected {wanted[name]!r}")
            elif name not in wanted:
                found.append(f"{where} is {stored[name]!r} in the file, not expected")
            else:
                found += differences(stored[name], wanted[name], where)
        return found
    same = stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)
    return [] if same else [f"{at} is {stored!r} in the file, expected {wanted!r}"]


def as_json(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the value as JSON gives it back; raise TypeError where it cannot."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, got {type(value).__name__}")
    try:
        result: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be what JSON can say: {error}") from error
    return result


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Name the tensors with NaN or infinite entries."""
    bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    return ", ".join(sorted(bad))


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON header to a safetensors file, in one step as others see it."""
    text = json.dumps({"format": kind, "version": VERSION, **header}, sort_keys=True)
    write_file(path, _safetensors().torch.save(dict(tensors), {_ENTRY: text}))


def read_tensors(
    path: Path, kind: str, entries: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote, with these entries in its header.

    Raise ValueError for any other file.
    """
    library = _safetensors()
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with library.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except library.SafetensorError as error:
        raise ValueError(
            f"{path} is no complete safetensors file ({error}); pickles are never read"
        ) from error
    try:
        header: dict[str, Any] = json.loads(metadata[_ENTRY])
        found = header["format"], header["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is a safetensors file, but not one of learnmm") from error
    if found != (kind, VERSION):
        raise ValueError(
            f"{path} holds {found[0]!r}, version {found[1]}; expected {kind!r}, version {VERSION}"
        )
    if missing := [name for name in entries if name not in header]:
        raise ValueError(f"{path} lacks {missing} in its header")
    return tensors, header


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "weights are stored with safetensors: pip install 'learnmm[train]'"
        ) from error
    return safetensors
