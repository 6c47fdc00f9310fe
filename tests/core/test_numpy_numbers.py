"""NumPy's numbers are numbers: settings, weights and bounds that they give are those of Python."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest
import torch

import learnmm as lmm
from learnmm.families import LearnSettings
from learnmm.proximal import L1, Box, GroupL2, TotalVariation

SETTINGS = [
    lmm.SolveSettings(max_iter=7, gtol=1e-3),
    lmm.Projection(upper=1.5),
    lmm.Safeguard(trials=7),
    lmm.Relaxation(grow=2.0),
    lmm.AdamSettings(lr=0.5, warmup=3, ema=0.5),
    lmm.FitSettings(steps=30, batch_size=2, patience=3),
    LearnSettings(instances=512, curved=12),
]
KINDS = {bool: np.bool_, int: np.int64, float: np.float64}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda given: type(given).__name__)
def test_settings_of_them_are_those_of_python(settings: Any) -> None:
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    numpy = {name: KINDS.get(type(value), lambda v: v)(value) for name, value in given.items()}
    made = type(settings)(**numpy)
    assert made == settings
    json.dumps(asdict(made), default=str)
    for name, value in given.items():
        assert type(getattr(made, name)) is type(value)


@pytest.mark.parametrize("number", [np.int64(2), np.float32(2), np.array(2.0), np.array([[2.0]])])
def test_weights_and_bounds_of_them(number: Any) -> None:
    x = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    assert float(L1(number).value(x)) == 14
    assert float(TotalVariation(number).value(x)) == 14
    assert float(GroupL2(number).value(x)) == 10
    assert lmm.minimize(lmm.Quadratic(x), x, bounds=(None, number)).x.tolist() == [[2.0, -4.0]]
    assert Box(number).lower.dtype == torch.float64


@pytest.mark.parametrize("number", [np.int64(2), np.float32(2), np.float64(2)])
def test_factors_of_them(number: Any) -> None:
    x = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    energy = lmm.Quadratic(torch.zeros_like(x))
    for scaled in (number * energy, energy * number):
        assert float(scaled(x)) == 25
    for penalty in (number * L1(), L1() * number):
        assert float(penalty.value(x)) == 14


def test_arrays_where_tensors_are_expected_are_named() -> None:
    array = np.ones((2, 3))
    for atom in (lmm.Quadratic, lmm.CosineDistance, lmm.Softmax, lmm.Logistic):
        with pytest.raises(TypeError, match=r"must be a torch.Tensor, got ndarray: torch.as_tens"):
            atom(array)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"the matrix after @ must be a torch.Tensor, got ndarray"):
        lmm.Quadratic(torch.ones(2, 3)) @ np.eye(3)


@pytest.mark.parametrize("value", ["1", None, 1j, np.complex64(1), np.str_("1"), True, np.True_])
def test_what_is_no_number_is_still_none(value: Any) -> None:
    with pytest.raises(TypeError, match="weight must be a number, a tensor or an array, got"):
        L1(value)
