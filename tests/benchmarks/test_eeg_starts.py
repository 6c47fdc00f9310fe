"""The page of learned starts: its rows differ in what they say, and its sums are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.eeg_starts import Judged, rows_of_starts, rows_of_verdict, told_apart, verdict_row
from learnmm_esi.simulation.data_sets import load_protocol
from learnmm_esi.simulation.ranges.simulator import Ranges


def found(accepted: list[bool], learned: list[float], linear: list[float]) -> Judged:
    apart = map(np.array, (accepted, learned, linear, linear))
    return Judged(np.zeros((len(accepted), 6)), *apart)


def test_a_row_says_what_is_refused_and_what_it_costs() -> None:
    row = verdict_row("some", found([True, False, True, False], [1, 10, 3, 30], [5, 8, 7, 20]))
    assert row == "| some | 50 % | 11.0 / 10.0 / 10.0 | 8.0 | 20.0 / 14.0 / 14.0 |"
    assert verdict_row("none", found([True], [1], [5])).endswith("| 1.0 | – |")


def test_facts_that_tell_worse_starts_are_found_to() -> None:
    generator = np.random.default_rng(0)
    told = generator.standard_normal((400, 6))
    worse = told[:, 2] > 0
    learned = np.where(worse, 40.0, 1.0)
    linear = np.full(400, 10.0)
    judged = Judged(told, np.ones(400, bool), learned, linear, linear)
    assert told_apart(judged) > 0.98
    chance = replace(judged, facts=generator.standard_normal((400, 6)))
    assert told_apart(chance) == pytest.approx(0.5, abs=0.2)


def test_rows_change_what_they_are_called_after() -> None:
    protocol = load_protocol("ranges")
    wide, (_, paper) = protocol.settings, protocol.also[0]
    assert isinstance(wide, Ranges)
    starts = rows_of_starts(wide, paper)
    assert starts["the paper's own"] == paper
    assert starts["19 electrodes"].caps.electrodes == (19, 19)
    assert starts["64, -5 dB"].noise.snr_db == (-5.0, -5.0)
    assert len(set(map(str, starts.values()))) == len(starts)
    assert all(one.heads == paper.heads for one in starts.values()), (
        "along normals, on the template"
    )
    assert rows_of_verdict(wide)["ranges of training"] == wide
