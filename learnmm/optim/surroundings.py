"""What an evaluation touches beside the parameters: buffers of modules, other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from learnmm.optim.ranks import Ranks
from learnmm.optim.reach import modules_within


class Modules:
    """Modules that a closure evaluates.

    Their buffers (statistics of batches, counters) become those of evaluations that were taken:
    what a refused one has left is undone.

    Parameters
    ----------
    closure : callable
        Its modules are found, see :func:`~learnmm.optim.reach.modules_within`.
    given : sequence of nn.Module
        More of them.
    parameters : sequence of Tensor
        What moves.
    compare_ranks : bool or None
        See :meth:`~learnmm.optim.ranks.Ranks.of`.
    """

    def __init__(
        self,
        closure: Callable[[], Any],
        given: Sequence[nn.Module],
        parameters: Sequence[Tensor],
        compare_ranks: bool | None,
    ) -> None:
        roots = [*modules_within(closure), *given]
        every = {id(m): m for root in roots for m in root.modules()}
        self._ranks = Ranks.of(every.values(), parameters, compare_ranks)
        self.alone = self._ranks is None
        self._holders = [
            m for m in every.values() if next(m.buffers(recurse=False), None) is not None
        ]
        self._kept = self._first = self._buffers()

    def before(self) -> None:
        """Undo what evaluations have left since the last one that was taken."""
        _restore(self._kept)

    def after(self, loss: Tensor) -> None:
        """Raise on all ranks unless they have the same loss."""
        if self._ranks is not None:
            self._ranks.check(loss)

    def take(self) -> None:
        """Keep what the last evaluation has left."""
        self._kept = self._buffers()

    def undo(self) -> None:
        """Undo all evaluations."""
        _restore(self._first)

    def _buffers(self) -> list[Buffer]:
        return [
            (module, name, buffer, buffer.detach().clone())
            for module in self._holders
            for name, buffer in module.named_buffers(recurse=False)
        ]


Buffer = tuple[nn.Module, str, Tensor, Tensor]
"""Holder, name, the tensor, its entries."""


def _restore(buffers: Iterable[Buffer]) -> None:
    with torch.no_grad():
        for module, name, buffer, entries in buffers:
            if not torch.equal(buffer, entries):  # a graph may need what is not written to
                buffer.copy_(entries)
            if getattr(module, name) is not buffer:
                setattr(module, name, buffer)


def listed(modules: nn.Module | Iterable[nn.Module] | None) -> list[nn.Module]:
    """Modules as a list.

    Raises
    ------
    TypeError
        If one is none.
    """
    every = [modules] if isinstance(modules, nn.Module) else list(modules or ())
    for module in every:
        if not isinstance(module, nn.Module):
            raise TypeError(f"modules must be torch.nn.Module, got {type(module).__name__}")
    return every
