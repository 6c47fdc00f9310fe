"""Batches depend on the step alone, and processes share those of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from fitting import (
    BATCH,
    SAMPLES,
    Data,
)
from learnmm.training.sampling import Batches, shares


def batches(rank: int = 0, world: int = 1, seed: int = 0, data: Any = None) -> Batches:
    return Batches(data or Data(), BATCH, seed=seed, rank=rank, world_size=world)


def test_an_epoch_is_a_permutation() -> None:
    order = batches().order(0)
    assert sorted(order) == list(range(SAMPLES))
    assert order != sorted(order)
    assert order == batches().order(0)
    assert order != batches().order(1)
    assert order != batches(seed=1).order(0)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_batches_of_one(world: int) -> None:
    whole = batches().indices(3)
    parts = [batches(rank, world).indices(3) for rank in range(world)]
    assert [len(batch) for batch in whole] == [BATCH] * 4
    assert len({i for batch in whole for i in batch}) == 4 * BATCH
    for k, batch in enumerate(whole):
        shares_of_batch = [part[k] for part in parts]
        assert {len(share) for share in shares_of_batch} == {BATCH // world}
        assert sorted(i for share in shares_of_batch for i in share) == sorted(batch)


def take(stream: Iterator[Any], count: int) -> list[Tensor]:
    return [next(stream)[0] for _ in range(count)]


@pytest.mark.parametrize("step", [0, 1, 4, 5, 11])
def test_batches_depend_on_the_step_alone(step: int) -> None:
    whole = take(batches().since(0), 14)
    part = take(batches().since(step), 14 - step)
    assert all(torch.equal(a, b) for a, b in zip(whole[step:], part, strict=True))


def test_data_hear_of_their_epoch() -> None:
    data = Data()
    take(batches(data=data).since(5), 8)
    assert data.epochs == [0, 1, 2, 3]


def test_data_may_collate_themselves() -> None:
    class Listed(Data):
        def collate(self, samples: list[Any]) -> list[Tensor]:
            return [torch.stack([x for x, _ in samples]), torch.tensor(float(len(samples)))]

    assert next(batches(data=Listed()).since(0))[1] == BATCH


@pytest.mark.parametrize(("samples", "world"), [(1, 1), (5, 2), (9, 2), (8, 4), (9, 4)])
def test_validation_counts_every_sample_once(samples: int, world: int) -> None:
    parts = [shares(samples, 4, rank, world) for rank in range(world)]
    assert len({len(indices) for indices, _ in parts}) == 1
    assert all(share for indices, _ in parts for share in indices)
    counted = [i for part in parts for s, n in zip(*part, strict=True) for i in s[:n]]
    assert sorted(counted) == list(range(samples))


def test_shares_of_a_batch_are_equal() -> None:
    with pytest.raises(
        ValueError, match="batch_size must be a multiple of the 3 processes, got 16"
    ):
        batches(0, 3)
