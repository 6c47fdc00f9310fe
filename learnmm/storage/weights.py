"""Weights of modules as files, with the configuration they belong to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from learnmm.storage.configuration import as_json, differences, listed, shown
from learnmm.storage.tensors import TensorFile, open_tensors, write_tensors

WEIGHTS = "learnmm weights"
HALF = torch.float16
HEADER = ("config", "notes", "dtypes")
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


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
        If it is not a complete file of :func:`save_weights`, does not match its hash, does not fit
        the module, holds what is not finite, or has another configuration. The module is as it
        was; shapes are compared before anything of that size is allocated.
    TypeError
        If the state of the module holds more than tensors.
    """
    path = Path(path)
    with open_tensors(path, WEIGHTS, HEADER) as file:
        layout = weights_layout(file)
        config: dict[str, Any] = file.header["config"]
        if expect is not None:
            wanted = as_json(expect, "expect")
            stored = {name: config[name] for name in wanted if name in config}
            if found := differences(stored, wanted):
                raise ValueError(f"{path} has another configuration: {listed(found)}")
        if module is not None:
            check_fit(path, layout, module_layout(module))
        tensors = {name: t.to(layout[name].dtype) for name, t in file.tensors().items()}
    if bad := not_finite(tensors):
        raise ValueError(f"{path} holds weights that are not finite: {bad}")
    if module is not None:
        fill(path, module, tensors)
    return tensors, config


def load_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the notes of :func:`save_weights`; raises as :func:`load_weights`."""
    with open_tensors(Path(path), WEIGHTS, HEADER) as file:
        file.tensors()  # their hash is that of the notes, too
        notes: dict[str, Any] = file.header["notes"]
    return notes


def peek_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return layout and configuration of a file of :func:`save_weights`, reading no tensor.

    Returns
    -------
    layout : dict of str to Tensor
        Shapes and the dtypes that :func:`load_weights` gives, on the device ``meta``.
    config : dict
        The configuration. Its hash is checked by :func:`load_weights`.
    """
    with open_tensors(Path(path), WEIGHTS, HEADER) as file:
        return weights_layout(file), file.header["config"]


def weights_layout(file: TensorFile) -> dict[str, Tensor]:
    """Return shapes and the dtypes that tensors had before they were stored in half precision."""
    layout = dict(file.layout)
    for name, dtype in file.header["dtypes"].items():
        if name not in layout or layout[name].dtype != HALF or dtype not in tuple(_DTYPES):
            raise ValueError(
                f"{file.path} is damaged: it has no tensor {shown(name)} that was "
                f"{' or '.join(_DTYPES)} and is float16"
            )
        layout[name] = layout[name].to(_DTYPES[dtype])
    return layout


def module_layout(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module as it is; raise TypeError unless it is tensors alone."""
    state: dict[str, Any] = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the state of {type(module).__name__} must be tensors, "
                f"but {name!r} is {type(value).__name__}"
            )
    return state


def fill(path: Path, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a state that fits; raise ValueError, with the module as it was, if it is refused."""
    if any(value.is_meta for value in module_layout(module).values()):
        raise ValueError(
            f"{type(module).__name__} has tensors on the device meta, which hold no numbers: "
            "move it with to_empty() first"
        )
    before = state_tensors(module)
    try:
        module.load_state_dict(dict(tensors))
    except Exception as error:  # hooks of the module, memory that cannot be written to
        with suppress(RuntimeError):
            module.load_state_dict(before)  # all that can be written to
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be loaded into the module: {reason}") from error


def state_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Copy the state of a module to the CPU, one contiguous tensor per name."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in module_layout(module).items()
    }


def check_fit(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise unless the file has the names, shapes and dtypes that are wanted."""
    found = [f"{name} is missing" for name in wanted if name not in tensors]
    found += [f"{shown(name)} is not in the module" for name in tensors if name not in wanted]
    for name in wanted.keys() & tensors.keys():
        have, want = tensors[name], wanted[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            found.append(
                f"{name} has shape {tuple(have.shape)} and dtype {have.dtype}, "
                f"expected {tuple(want.shape)} and {want.dtype}"
            )
    if found:
        raise ValueError(f"{path} does not fit the module: {listed(sorted(found))}")


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Name the tensors with NaN or infinite entries."""
    bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    return listed(sorted(map(shown, bad)), ", ")
