"""Processes that train one model together must see one loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

RULE = (
    "steps are decided by the loss, so it must be the same on every rank: average it in the "
    "closure, with torch.distributed.all_reduce on loss.detach().clone(), and return the average"
)


class Ranks:
    """Compares the losses of all ranks of a group.

    Parameters
    ----------
    group : ProcessGroup or None
        Who trains together; None is everybody.
    device : torch.device
        Where the group communicates.
    averaged : sequence of Tensor
        Parameters whose gradients are averaged by `DistributedDataParallel`, in ``backward`` only.
    """

    def __init__(self, group: Any, device: torch.device, averaged: Sequence[Tensor] = ()) -> None:
        self.group = group
        self.device = device  # of the parameters, where the backend of a group works
        self.averaged = averaged

    @staticmethod
    def of(
        modules: Iterable[nn.Module], parameters: Sequence[Tensor], compare: bool | None
    ) -> Ranks | None:
        """Who trains `modules` together; None if nobody else does, or nothing is to be compared.

        Unless `compare` decides, it is the group of a `DistributedDataParallel` module that holds
        some of the parameters.
        """
        if compare is False or not (dist.is_available() and dist.is_initialized()):
            return None
        ours, device = {id(p) for p in parameters}, parameters[0].device
        ranks: Ranks | None = None
        parallel = nn.parallel.DistributedDataParallel
        for module in (m for root in modules for m in root.modules()):
            if isinstance(module, parallel) and any(id(p) in ours for p in module.parameters()):
                ranks = Ranks(module.process_group, device, parameters)
                break
        else:
            ranks = Ranks(None, device) if compare else None
        return ranks if ranks and dist.get_world_size(ranks.group) > 1 else None

    def check(self, loss: Tensor) -> None:
        """Raise on all ranks unless all have the same loss."""
        if self.averaged and not any(p.grad is not None for p in self.averaged):
            raise RuntimeError(
                "under DistributedDataParallel the closure must call backward: there alone are "
                "gradients averaged over the ranks"
            )
        size, rank = dist.get_world_size(self.group), dist.get_rank(self.group)
        losses = torch.zeros(size, dtype=torch.float64, device=self.device)
        losses[rank] = loss.detach().reshape(())
        dist.all_reduce(losses, group=self.group)  # every rank has put in its own entry only
        given = losses.tolist()
        if not torch.equal(losses, losses[:1].expand(size)) and not all(x != x for x in given):
            some = ", ".join(f"{x!r} on rank {k}" for k, x in enumerate(given[:4]))
            raise RuntimeError(f"the closure returned {some}{', ...' * (size > 4)}; {RULE}")
