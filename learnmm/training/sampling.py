"""Which samples belong to which step, on which process: a pure function of numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate


def derive(*parts: int | str) -> int:
    """Return a seed that is a function of all parts."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Batches:
    """The batches of one process.

    Every epoch is a permutation of the samples, given by `seed` and its number, cut into batches;
    samples left over at its end are skipped. A process takes every `world_size`-th sample of a
    batch, so that all processes together see the batches of one.
    """

    def __init__(
        self, data: Dataset[Any], batch_size: int, *, seed: int, rank: int, world_size: int
    ) -> None:
        self.data = data
        self.samples = count(data, "data")
        if batch_size > self.samples:
            raise ValueError(f"data has {self.samples} samples, fewer than batch_size={batch_size}")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size must be a multiple of the {world_size} processes, got {batch_size}"
            )
        self.batch_size = batch_size
        self.per_epoch = self.samples // batch_size
        self.seed, self.rank, self.world_size = seed, rank, world_size

    def order(self, epoch: int) -> list[int]:
        """Return the samples of an epoch in their order."""
        generator = torch.Generator().manual_seed(derive("order", self.seed, epoch))
        order: list[int] = torch.randperm(self.samples, generator=generator).tolist()
        return order

    def indices(self, epoch: int, first: int = 0) -> list[list[int]]:
        """Return the samples of this process, batch by batch, from batch `first` of the epoch."""
        order, size = self.order(epoch), self.batch_size
        return [
            order[k * size : (k + 1) * size][self.rank :: self.world_size]
            for k in range(first, self.per_epoch)
        ]

    def since(self, step: int) -> Iterator[Any]:
        """Yield the batches of `step`, ``step + 1``, ... without end."""
        epoch, first = divmod(step, self.per_epoch)
        while True:
            if hasattr(self.data, "set_epoch"):
                self.data.set_epoch(epoch)
            yield from loader(self.data, self.indices(epoch, first))
            epoch, first = epoch + 1, 0


def shares(
    samples: int, batch_size: int, rank: int, world_size: int
) -> tuple[list[list[int]], list[int]]:
    """Cut samples in order into batches; return this process's share and how many of it count.

    A process without a share of the last batch gets a sample that does not count, so that all
    processes make the same number of forward passes.
    """
    batches, weights = [], []
    for start in range(0, samples, batch_size):
        batch = list(range(start, min(start + batch_size, samples)))
        share = batch[rank::world_size]
        batches.append(share or batch[:1])
        weights.append(len(share))
    return batches, weights


def loader(data: Dataset[Any], batches: list[list[int]]) -> DataLoader[Any]:
    """Return the loader of these batches; it leaves the global generator alone.

    ``data.workers``, if it exists, is the number of processes that make samples ahead.
    """
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=getattr(data, "collate", default_collate),
        num_workers=getattr(data, "workers", 0),
        generator=torch.Generator(),
    )


def count(data: Any, name: str) -> int:
    """Return the number of samples; raise unless this is a dataset with some."""
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if not indexed or isinstance(data, IterableDataset):
        raise TypeError(
            f"{name} must be a map-style dataset, with __getitem__ and __len__, "
            f"got {type(data).__name__}"
        )
    samples = len(data)
    if samples < 1:
        raise ValueError(f"{name} is empty")
    return samples
