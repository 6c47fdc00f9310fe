"""Recordings to train on: when their noise is new, and where their windows lie."""

from __future__ import annotations

import torch

from eeg_learning import TIMES
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.training.data import SimulatedRecordings


def test_noise_is_fresh_in_every_epoch_of_training_alone(head) -> None:
    made = ERPSimulator(head, seed=3, times=TIMES)
    training, testing = SimulatedRecordings(made), SimulatedRecordings(made, fresh=False)
    first, fixed = training[1], testing[1]
    training.set_epoch(1)
    testing.set_epoch(1)
    assert torch.equal(first["sources"], training[1]["sources"])
    assert not torch.equal(first["sensors"], training[1]["sensors"])
    assert torch.equal(fixed["sensors"], testing[1]["sensors"])
    training.set_epoch(0)
    assert torch.equal(first["sensors"], training[1]["sensors"])


def test_windows_hold_the_peak_of_the_source(head) -> None:
    made = ERPSimulator(head, seed=3, times=64)
    windows, whole = SimulatedRecordings(made, window=TIMES), SimulatedRecordings(made)
    begins = set()
    for epoch in range(3):
        windows.set_epoch(epoch)
        whole.set_epoch(epoch)
        for index in range(4):
            part, full = windows[index], whole[index]
            assert part["sources"].shape == (80, TIMES)
            assert float(part["sources"].abs().max()) == 1.0
            places = [
                begin
                for begin in range(64 - TIMES + 1)
                if torch.equal(part["sensors"], full["sensors"][:, begin : begin + TIMES])
            ]
            assert len(places) == 1
            begins.add(places[0])
    assert len(begins) > 4
