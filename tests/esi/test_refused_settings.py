"""Whatever a setting is given that is none: an error that names it, before anything is built."""

from __future__ import annotations

import math
from typing import Any

import pytest

import learnmm as lmm
from learnmm_esi import InverseSettings
from learnmm_esi.simulation.erp import ERPSimulator

NEVER = "x", [], math.nan, True, 10**400
NUMBERS, INTEGERS = (*NEVER, 0, -1), (*NEVER, None, 2.5, -1)


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        ("weight", NUMBERS),
        ("diffusion", NUMBERS),
        ("max_iter", ("x", [], math.nan, True, 2.5, 0)),
        ("weights", (3, 2.5, [], True)),
        ("transfer", (None, "x", 1, [])),
        ("guided", (None, "x", 1, [])),
    ],
)
def test_settings_of_an_inverse(name: str, junk: tuple[Any, ...]) -> None:
    for value in junk:
        with pytest.raises((TypeError, ValueError), match=f"InverseSettings: .*{name}"):
            InverseSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        ("head", (None, 3, {"ico": 3})),
        ("times", INTEGERS),
        ("snr_db", (*NEVER, None, (5.0,), (9.0, 1.0), 1e3)),
        ("bound", ("best", None, 2)),
    ],
)
def test_settings_of_the_problem(name: str, junk: tuple[Any, ...]) -> None:
    for value in junk:
        with pytest.raises(ValueError, match=rf"'eeg-erp' refuses {name}=.*: .*{name} must be"):
            lmm.problem("eeg-erp", **{name: value})


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        ("seed", INTEGERS),
        ("size", (*INTEGERS, 0)),
        ("times", (*INTEGERS, 0)),
        ("sfreq", (*NUMBERS, None, math.inf)),
        ("snr_db", (*NEVER, None, (5.0,), (9.0, 1.0), math.inf)),
    ],
)
def test_settings_of_a_simulator(small_model: Any, name: str, junk: tuple[Any, ...]) -> None:
    ERPSimulator(small_model)
    for value in junk:
        with pytest.raises(ValueError, match=f"{name} must be"):
            ERPSimulator(small_model, **{name: value})
