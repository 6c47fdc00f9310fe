"""The benchmark of networks: its pieces work together, and what it counts is what happened."""

from __future__ import annotations

import pytest
import torch

from benchmarks import networks


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "CALLS", 24)


@pytest.mark.parametrize("size", networks.SIZES)
def test_our_steps_raise_no_loss_and_those_of_too_long_ones_do(size: int) -> None:
    ours = networks.train(networks.optimizers()["ProjectedMM"], size, seed=0)
    assert ours.raised == 0
    assert ours.loss < 1.5 < 2.4  # of ten classes at random: log(10)
    assert networks.train(lambda p: torch.optim.SGD(p, 100.0), size, seed=0).raised > 0


def test_seeds_decide_alone() -> None:
    make = networks.optimizers()["Adam, lr 0.01"]
    first, again, other = (networks.train(make, 128, seed).loss for seed in (3, 3, 4))
    assert first == again != other


def test_a_call_is_timed_with_its_two_evaluations() -> None:
    cost = networks.cost(12, 128, rounds=2)
    assert cost.parameters == 64 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10
    assert 0 < cost.ours < 1e5
    assert 0 < cost.lbfgs < 1e5
    assert cost.ratio > 0
