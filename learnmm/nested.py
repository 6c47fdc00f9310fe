"""Nested states: walked, carried on per problem, or refused when a solve starts.

The memories of proposers and adaptive majorants and the ``aux`` of an objective are trees: tensors
with the batch first in tuples, named tuples, lists, dictionaries and dataclasses.
`None`, numbers, strings and the like are constants of a tree, since they cannot differ from
problem to problem. Whatever else a tree might hide tensors in is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["check", "mapped", "parts_of", "rebuilt", "refill", "select", "tensors_of"]

CONSTANTS = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    Enum,
    torch.dtype,
    torch.device,
    torch.Size,
    type(None),
)
"""What a tree may hold beside tensors; it must stay as it is from step to step."""

ALLOWED = (
    "tensors with the batch first, in tuples, lists, dictionaries or dataclasses, beside constants "
    "such as None, numbers and strings"
)


def select(mask: Tensor | None, new: Any, old: Any, owner: str = "a state") -> Any:
    """Per problem, ``new`` where `mask` holds and ``old`` elsewhere.

    Parameters
    ----------
    mask : Tensor of bool or None
        ``(B,)``; None holds everywhere.
    new, old : nested
        Of the same structure.
    owner : str
        Whose they are, for the error.

    Raises
    ------
    TypeError
        If structure, shapes or constants of the two differ.
    """
    if isinstance(new, Tensor) and isinstance(old, Tensor):
        if new.shape != old.shape:
            raise TypeError(
                f"{owner} changed the shape of a tensor from {tuple(old.shape)} to "
                f"{tuple(new.shape)}"
            )
        if mask is None:
            return new
        return torch.where(mask.reshape(-1, *([1] * (new.dim() - 1))), new, old)
    ours, theirs = parts_of(new), parts_of(old)
    if ours is not None and theirs is not None and ours.keys() == theirs.keys():
        chosen = [select(mask, part, theirs[key], owner) for key, part in ours.items()]
        return rebuilt(new, chosen)
    if isinstance(new, CONSTANTS) and isinstance(old, CONSTANTS) and _same(new, old):
        return new
    raise TypeError(
        f"{owner} must keep its structure and constants from step to step, and what changes must "
        f"be a tensor with the batch first: expected {_named(old)}, got {_named(new)}"
    )


def tensors_of(tree: Any) -> list[Tensor]:
    """Tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = parts_of(tree)
    return [] if parts is None else [t for part in parts.values() for t in tensors_of(part)]


def refill(tree: Any, tensors: Iterator[Tensor]) -> Any:
    """The same tree with other tensors; whatever is no tensor stays."""
    return mapped(lambda _: next(tensors), tree)


def mapped(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The same tree with a function applied to every tensor."""
    if isinstance(tree, Tensor):
        return function(tree)
    parts = parts_of(tree)
    if parts is None:
        return tree
    return rebuilt(tree, [mapped(function, part) for part in parts.values()])


def check(tree: Any, batch: int, owner: str) -> None:
    """Raise unless a tree can be carried on per problem.

    Raises
    ------
    TypeError
        With what was found and what is allowed.
    """
    if isinstance(tree, Tensor):
        if tree.layout != torch.strided:
            raise TypeError(f"{owner} must consist of dense tensors, got {tree.layout}")
        if tree.shape[:1] != (batch,):
            raise TypeError(
                f"{owner} must have the batch of {batch} first in every tensor, got shape "
                f"{tuple(tree.shape)}; what all problems share belongs into the object itself"
            )
        return
    parts = parts_of(tree)
    if parts is None and not isinstance(tree, CONSTANTS):
        raise TypeError(f"{owner} must consist of {ALLOWED}, got {_named(tree)}")
    for part in (parts or {}).values():
        check(part, batch, owner)


def parts_of(tree: Any) -> dict[Any, Any] | None:
    """Parts of what is walked, by key, place or field; None for everything else."""
    if isinstance(tree, CONSTANTS):
        return None
    if isinstance(tree, tuple) and (type(tree) is tuple or hasattr(tree, "_fields")):
        return dict(enumerate(tree))
    if type(tree) is list:
        return dict(enumerate(tree))
    if type(tree) in (dict, OrderedDict):
        return dict(tree)
    if not is_dataclass(tree) or isinstance(tree, type | nn.Module):
        return None
    found = {field.name: getattr(tree, field.name) for field in fields(tree)}
    # Whatever its constructor does not take would be lost.
    whole = all(field.init for field in fields(tree))
    hidden = [name for name in getattr(tree, "__dict__", ()) if name not in found]
    return found if whole and not hidden else None


def rebuilt(tree: Any, parts: list[Any]) -> Any:
    """A tree of the type of another from new parts, in the order of :func:`parts_of`."""
    if isinstance(tree, tuple):
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return parts
    if isinstance(tree, dict):
        return type(tree)(zip(tree, parts, strict=True))
    names = [field.name for field in fields(tree)]
    return type(tree)(**dict(zip(names, parts, strict=True)))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _named(tree: Any) -> str:
    """What a tree is, for an error: constants with their value."""
    if isinstance(tree, Tensor):
        return f"a tensor of shape {tuple(tree.shape)}"
    if isinstance(tree, CONSTANTS):
        return "None" if tree is None else f"{type(tree).__name__} {tree!r}"
    parts = parts_of(tree)
    held = "" if parts is None else f" of {', '.join(map(str, parts)) or 'nothing'}"
    return f"{type(tree).__name__}{held}"
