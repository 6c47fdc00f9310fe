"""Unknowns of which every process holds a part: what is summed over them, all processes sum.

A step needs nothing else from the other processes: it is made of sums of entries, of the largest
entry, and of multiples of vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Shards", "alone", "everywhere", "largest", "over_all", "shared_out", "total"]

_group: ContextVar[Any] = ContextVar("group", default=None)


class Shards:
    """How a `DTensor` is shared out, to take it apart and put others together.

    Parameters
    ----------
    whole : DTensor
        Unknowns, in parts along one of their dimensions on a mesh of one dimension.

    Raises
    ------
    ValueError
        For what is not in parts, and where a process has nothing.
    """

    def __init__(self, whole: Any) -> None:
        from torch.distributed.tensor import Shard

        mesh, placements = whole.device_mesh, whole.placements
        if mesh.ndim != 1 or type(placements[0]) is not Shard:
            raise ValueError(
                "unknowns of several processes must be sharded along one dimension, on a mesh of "
                f"one dimension, got {placements} on a mesh of {mesh.ndim}"
            )
        self.dim = placements[0].dim
        if whole.shape[self.dim] < mesh.size():
            raise ValueError(
                f"dimension {self.dim} of {whole.shape[self.dim]} is too short for "
                f"{mesh.size()} processes: each needs a part of it"
            )
        self.mesh, self.placements = mesh, placements
        self.shape, self.stride = whole.shape, whole.stride()
        self.group = mesh.get_group()

    def together(self, part: Tensor) -> Any:
        """A `DTensor` of which this process holds `part`."""
        from torch.distributed.tensor import DTensor

        return DTensor.from_local(
            part,
            self.mesh,
            self.placements,
            run_check=False,
            shape=self.shape,
            stride=self.stride,
        )

    def function(self, fun: Callable[[Any], Tensor]) -> Callable[[Tensor], Tensor]:
        """A function of this process' part, whose values are those of all parts.

        Parameters
        ----------
        fun : callable
            Of the whole `DTensor`. What it holds besides is one too, or the same everywhere.
        """
        from torch.distributed.tensor import DTensor
        from torch.distributed.tensor.experimental import implicit_replication

        def of_part(part: Tensor) -> Tensor:
            with implicit_replication(), over_all(None):
                value = fun(self.together(part))
                whole = value.full_tensor() if isinstance(value, DTensor) else value
            if self.dim == 0 and isinstance(whole, Tensor) and whole.dim() > 0:
                raise ValueError(
                    "problems of a batch need no other process: solve those of each in a call of "
                    "its own, or shard the unknowns, which come after the batch"
                )
            return whole

        return of_part


def shared_out(x: Any) -> bool:
    """Whether something is a `DTensor`."""
    if not dist.is_available() or type(x) is Tensor:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(x, DTensor)


@contextmanager
def over_all(group: Any) -> Iterator[None]:
    """Sum over a group of processes in this thread, instead of over this process alone."""
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)


def total(sums: Tensor) -> Tensor:
    """Sums over all unknowns, of sums over those of this process."""
    return _reduced(sums, "SUM")


def largest(numbers: Tensor) -> Tensor:
    """Largest numbers of all unknowns, of the largest of this process; NaN comes through."""
    if alone():
        return numbers
    missing = torch.isnan(numbers)
    most = _reduced(numbers.masked_fill(missing, torch.inf), "MAX")
    return most.masked_fill(_reduced(missing.to(numbers.dtype), "MAX") > 0, torch.nan)


def everywhere(mask: Tensor) -> Tensor:
    """Whether something holds for the unknowns of all processes."""
    return mask if alone() else _reduced(mask.to(torch.float32), "MIN") > 0


def alone() -> bool:
    """Whether this process has all unknowns of the solve that it is in."""
    return torch.compiler.is_compiling() or _group.get() is None


def _reduced(numbers: Tensor, how: str) -> Tensor:
    if alone():
        return numbers
    numbers = numbers.detach().clone()
    dist.all_reduce(numbers, getattr(dist.ReduceOp, how), group=_group.get())
    return numbers
