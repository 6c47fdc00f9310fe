"""Bounds as their user gave them: for a tensor, or a tree of unknowns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from learnmm.nested import parts_of
from learnmm.proximal import Box, bounded, limit_of
from learnmm.solve.unknowns import Leaf, Unknowns


def box_of(bounds: Any, unknowns: Unknowns) -> Box | None:
    """Bounds on the real numbers that unknowns are made of; None without bounds.

    Raises
    ------
    TypeError, ValueError
        For what is no pair, trees of another structure, and complex unknowns, which have no order.
    """
    if bounds is None:
        return None
    if any(leaf.complex for leaf in unknowns.leaves):
        raise TypeError("bounds are for real unknowns, got complex ones")
    return bounded(bounds, lambda limit, name: _packed(limit, name, unknowns))


def _packed(limit: Any, name: str, unknowns: Unknowns) -> Any:
    """A bound on numbers that lie one after the other."""
    if unknowns.alone or _is_one(limit):
        return limit
    otherwise = -torch.inf if name == "lower" else torch.inf
    sizes = unknowns.leaves[0].shape[:1] if unknowns.batch else ()
    found = list(_aligned(unknowns.tree, limit, name))
    parts = [
        _broadcast(limit_of(name, one, otherwise), leaf, name).reshape(*sizes, -1)
        for one, leaf in zip(found, unknowns.leaves, strict=True)
    ]
    return torch.cat([part.to(torch.float64) for part in parts], -1)


def _is_one(limit: Any) -> bool:
    """Whether all unknowns have the same bound."""
    return limit is None or isinstance(limit, bool | int | float)


def _aligned(tree: Any, limit: Any, name: str) -> Iterator[Any]:
    """What a tree of bounds holds for each leaf of a tree of unknowns."""
    if isinstance(tree, Tensor) or _is_one(tree):
        yield limit
        return
    parts = parts_of(tree) or {}
    its = dict.fromkeys(parts, limit) if _is_one(limit) else parts_of(limit)
    if its is None or its.keys() != parts.keys():
        came = type(limit).__name__ if its is None else f"one of {', '.join(map(str, its))}"
        raise ValueError(
            f"bounds: {name} must be a number, None, or a tree like x0, of "
            f"{', '.join(map(str, parts))}, got {came}"
        )
    for key, part in parts.items():
        yield from _aligned(part, its[key], name)


def _broadcast(limit: Tensor, leaf: Leaf, name: str) -> Tensor:
    try:
        return limit.broadcast_to(leaf.shape)
    except RuntimeError:
        raise ValueError(
            f"bounds: {name} must broadcast to {leaf.shape}, got shape {tuple(limit.shape)}"
        ) from None
