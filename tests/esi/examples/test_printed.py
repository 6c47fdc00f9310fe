"""What the printed interval allows: lengths of steps, and who comes how far."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import learnmm as lmm
from eeg_learning import build
from learnmm_esi.metrics import Evaluator
from learnmm_esi.simulation.erp import ERPSimulator
from scripts import script

printed = script("esi", "printed")


def test_allowed_is_how_often_doubling_a_step_still_pays() -> None:
    x = torch.tensor([[1.0], [-1.0], [1.0]], dtype=torch.float64)
    there = torch.tensor([[0.9], [-0.4], [1.1]], dtype=torch.float64)
    energy = lmm.least_squares(torch.eye(1, dtype=torch.float64), torch.zeros_like(x))
    assert printed.allowed(energy, x, there).tolist() == [8.0, 2.0, 0.0]


def test_no_confined_step_is_longer_than_one_to_the_end_of_the_interval(
    head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printed, "LOOKS", (0, 1, 3))
    monkeypatch.setattr(printed, "LONG", 60)
    monkeypatch.setattr(printed, "WITHIN", 3)
    solver = build(head, "mm-net-a", start="noise")
    batch = ERPSimulator(head, seed=2, times=16).batch(range(3))
    rows = printed.compared(solver, batch, Evaluator(head, 512.0))
    network, end = rows[printed.NETWORK], rows[printed.END]
    assert bool((network.way[1] <= end.way[1]).all())
    assert all(bool((share == 1).all()) for share in end.clipped)
    for row in rows.values():
        assert float(row.decrease[0].abs().max()) == float(row.way[0].abs().max()) == 0
        assert bool((row.decrease[3] >= row.decrease[1]).all())
    assert "| the end of the interval | 3 |" in printed.progress_table([rows])
    assert printed.steps_table([rows]).count("the network") == 3
