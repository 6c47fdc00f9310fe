"""Whatever a setting is given that is none: an error that names it, before anything is solved."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import learnmm as lmm
from learnmm import majorants, optim
from learnmm.families.learning import LearnSettings
from learnmm.proposers import (
    BFGS,
    Constant,
    CoordinatewiseLSTM,
    DampedInverse,
    LimitedMemory,
    SpectralLSTM,
)
from learnmm.proximal import L1, GroupL2, TotalVariation
from learnmm.training import AdamSettings

Y = torch.ones(2, 3, dtype=torch.float64)


def square(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(1)


MADE: dict[Callable[..., Any], dict[str, Any]] = {
    lmm.SolveSettings: {},
    lmm.Safeguard: {},
    lmm.Relaxation: {},
    lmm.Projection: {},
    lmm.FitSettings: {"steps": 100},
    AdamSettings: {},
    LearnSettings: {},
    LimitedMemory: {},
    BFGS: {},
    Constant: {},
    CoordinatewiseLSTM: {},
    SpectralLSTM: {"matrix": Y},
    DampedInverse: {"matrix": Y},
    L1: {},
    GroupL2: {},
    TotalVariation: {},
    lmm.SoftReLU: {},
    lmm.CosineDistance: {"y": Y},
    lmm.Quadratic: {"target": Y},
    lmm.HalfQuadratic: {"target": Y},
    lmm.Logistic: {"labels": Y},
    lmm.AutoencoderPrior: {"network": nn.Linear(3, 3).double()},
    majorants.LipschitzMajorant: {"constant": 1.0},
    majorants.LanczosMajorant: {"fun": square},
    majorants.PowerIterationMajorant: {"fun": square},
    majorants.SecantMajorant: {"fun": square},
    lmm.UnrolledMM: {"energy": square},
    optim.ProjectedMM: {"params": [nn.Parameter(Y)]},
}
NEVER = "x", [], object()
JUNK = {
    "Tensor": NEVER,
    "float": (*NEVER, math.nan, True, 10**400),
    "int": (*NEVER, math.nan, 2.5, True),
    "bool": (*NEVER, 2.5),
}


def cases() -> list[Any]:
    found = []
    for make, given in MADE.items():
        for name, parameter in inspect.signature(make).parameters.items():
            kinds = {kind.strip() for kind in str(parameter.annotation).split("|")}
            for kind in sorted(kinds & set(JUNK)):
                junk = [*JUNK[kind], *([] if "None" in kinds else [None])]
                label = f"{make.__name__}-{name}"  # type: ignore[attr-defined]
                found.append(pytest.param(make, given, name, junk, id=label))
    return found


@pytest.mark.parametrize(("make", "given", "name", "junk"), cases())
def test_what_is_none_is_refused_by_name(
    make: Callable[..., Any], given: dict[str, Any], name: str, junk: list[Any]
) -> None:
    make(**given)
    for value in junk:
        with pytest.raises((TypeError, ValueError), match=name.replace("_", ".")):
            make(**{**given, name: value})


POSITIVE: dict[str, Callable[[Any], Any]] = {
    "weight": lambda value: lmm.Quadratic(Y, value),
    "an atom's weight": lambda value: value * lmm.Quadratic(Y),
    "scale": lambda value: lmm.HalfQuadratic(Y, scale=value),
    "constant": majorants.LipschitzMajorant,
    "damping": lambda value: DampedInverse(Y, value),
    "eps": lmm.SoftReLU,
}


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_must_be_positive_is_finite_too(name: str, value: float) -> None:
    """As a number, and among the numbers of a tensor."""
    for given in (value, torch.tensor(value, dtype=torch.float64)):
        with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
            POSITIVE[name](given)


def test_no_weights_are_none() -> None:
    with pytest.raises(ValueError, match="weight must be positive and finite"):
        lmm.Quadratic(Y, Y[:0])
