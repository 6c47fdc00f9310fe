"""What the unknowns of a function are: a tensor, an array of NumPy, complex, or a tree of these."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from learnmm.nested import parts_of, rebuilt

KEPT = (torch.float32, torch.float64, torch.complex64, torch.complex128)
"""Dtypes that stay. Every other kind of number becomes float64, or complex128 if it is complex."""

WIDTH = {
    torch.float32: torch.float32,
    torch.complex64: torch.float32,
    torch.float64: torch.float64,
    torch.complex128: torch.float64,
}
"""Dtype of real and imaginary part."""

ALLOWED = "tensors, NumPy arrays or numbers, alone or in dictionaries, lists or tuples"


class Leaf(NamedTuple):
    """One tensor among the unknowns, as the function sees it.

    Attributes
    ----------
    shape : tuple of int
        With the batch in front, if there is one.
    complex : bool
        Whether it is made of pairs of reals.
    array : bool
        Whether it comes back as an array of NumPy.
    """

    shape: tuple[int, ...]
    complex: bool
    array: bool

    @property
    def reals(self) -> tuple[int, ...]:
        """Shape of its real numbers, those of a pair last."""
        return (*self.shape, 2) if self.complex else self.shape

    def seen(self, reals: Tensor) -> Tensor:
        """What the function sees."""
        return torch.complex(reals[..., 0], reals[..., 1]) if self.complex else reals

    def returned(self, reals: Tensor) -> Any:
        """What comes back."""
        return self.seen(reals).numpy(force=True) if self.array else self.seen(reals)


@dataclass(frozen=True)
class Unknowns:
    """How real numbers in one tensor are the unknowns of a function.

    A tensor alone keeps its shape, and if it is complex, its pairs of reals come last; the leaves
    of a tree lie one after the other, ``(N,)`` for one problem and ``(B, N)`` for a batch.

    All unknowns have one dtype, the widest of them: float32 where all are float32 or complex64,
    else float64.

    Attributes
    ----------
    tree : Any
        The start, with tensors for leaves.
    leaves : tuple of Leaf
        In order.
    alone : bool
        Whether there is no tree around the only leaf.
    batch : bool
        Whether every leaf of a tree has the batch in front.
    """

    tree: Any
    leaves: tuple[Leaf, ...]
    alone: bool
    batch: bool = False

    @staticmethod
    def of(x0: Any) -> Unknowns:
        """Take a start apart.

        Raises
        ------
        TypeError, ValueError
            For what cannot be unknowns.
        """
        found = [_tensor(leaf) for leaf in _leaves(x0)]
        if not found:
            raise ValueError(f"x0 holds no unknowns: expected {ALLOWED}")
        devices = {tensor.device for tensor in found}
        if len(devices) > 1:
            raise ValueError(f"x0 must be on one device, got {', '.join(map(str, devices))}")
        width = max((WIDTH[tensor.dtype] for tensor in found), key=lambda dtype: dtype.itemsize)
        found = [t.to(torch.promote_types(t.dtype, width)) for t in found]
        leaves = tuple(
            Leaf(tuple(tensor.shape), tensor.is_complex(), isinstance(given, np.ndarray))
            for tensor, given in zip(found, _leaves(x0), strict=True)
        )
        return Unknowns(_refilled(x0, iter(found)), leaves, _is_leaf(x0))

    @property
    def plain(self) -> bool:
        """Whether the function sees the tensor that is stepped."""
        return self.alone and not self.leaves[0].complex

    @property
    def arrays(self) -> bool:
        """Whether all unknowns came as arrays of NumPy."""
        return all(leaf.array for leaf in self.leaves)

    def start(self) -> Tensor:
        """The real numbers of the start."""
        parts = [torch.view_as_real(t) if t.is_complex() else t for t in _leaves(self.tree)]
        if self.alone:
            return parts[0]
        sizes = self.leaves[0].shape[:1] if self.batch else ()
        return torch.cat([part.detach().reshape(*sizes, -1) for part in parts], -1)

    def seen(self, x: Tensor) -> Any:
        """What the function sees of real numbers, for as many problems as there are."""
        if self.alone:
            return self.leaves[0].seen(x)
        return _refilled(self.tree, (leaf.seen(part) for leaf, part in self._split(x)))

    def returned(self, x: Tensor) -> Any:
        """What comes back of real numbers: each leaf as what it was given."""
        if self.alone:
            return self.leaves[0].returned(x)
        return _refilled(self.tree, (leaf.returned(part) for leaf, part in self._split(x)))

    def _split(self, x: Tensor) -> Iterator[tuple[Leaf, Tensor]]:
        shapes = [leaf.reals[1:] if self.batch else leaf.reals for leaf in self.leaves]
        parts = x.split([math.prod(shape) for shape in shapes], -1)
        for leaf, shape, part in zip(self.leaves, shapes, parts, strict=True):
            yield leaf, part.reshape((*x.shape[:-1], *shape))


def batch_of(unknowns: Unknowns, value: Tensor) -> bool:
    """Whether a function of a tree takes a batch, told by the shape of its value.

    Raises
    ------
    ValueError
        If it is neither one problem nor a batch.
    """
    if value.shape == ():
        return False
    first = [leaf.shape[:1] for leaf in unknowns.leaves]
    if all(value.shape == size for size in first):
        return True
    shapes = ", ".join(str(leaf.shape) for leaf in unknowns.leaves)
    raise ValueError(
        "the objective must return shape () for one problem, or (B,) for a batch with B in front "
        f"of every unknown; got shape {tuple(value.shape)} for unknowns of shapes {shapes}"
    )


def _is_leaf(x0: Any) -> bool:
    """Whether this is a tensor, an array, or numbers in lists, which make one."""
    if isinstance(x0, Tensor | np.ndarray | np.generic | bool | int | float | complex):
        return True
    return type(x0) in (list, tuple) and len(x0) > 0 and all(map(_is_number, x0))


def _is_number(x0: Any) -> bool:
    if type(x0) in (list, tuple):
        return len(x0) > 0 and all(map(_is_number, x0))
    return isinstance(x0, np.generic | bool | int | float | complex)


def _leaves(x0: Any) -> list[Any]:
    if _is_leaf(x0):
        return [x0]
    parts = parts_of(x0)
    if parts is None:
        raise TypeError(f"x0 must be {ALLOWED}, got {type(x0).__name__}")
    return [leaf for part in parts.values() for leaf in _leaves(part)]


def _refilled(tree: Any, leaves: Iterator[Any]) -> Any:
    if _is_leaf(tree):
        return next(leaves)
    return rebuilt(tree, [_refilled(part, leaves) for part in (parts_of(tree) or {}).values()])


def _tensor(leaf: Any) -> Tensor:
    """A leaf as a tensor of a dtype that is kept."""
    tensor = leaf if isinstance(leaf, Tensor) else _of_numbers(leaf)
    if tensor.layout != torch.strided:
        raise TypeError(f"x0 must be a dense tensor, got {tensor.layout}")
    if tensor.dtype in KEPT:
        return tensor
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _of_numbers(leaf: Any) -> Tensor:
    """An array, or Python's numbers, as a tensor."""
    try:
        array = np.asarray(leaf)
    except ValueError as error:
        raise ValueError(f"x0 must be {ALLOWED}: {error}") from error
    if array.dtype.kind not in "biufc":
        raise TypeError(f"x0 must consist of numbers, got an array of {array.dtype}")
    kept = isinstance(leaf, np.ndarray) and array.dtype.name in ("float32", "complex64")
    wide = "complex128" if array.dtype.kind == "c" else "float64"
    return torch.tensor(array.astype(array.dtype.name if kept else wide))
