"""Settings with named values: strings and members are the same, and a wrong one is refused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import learnmm as lmm
from learnmm.atoms import AutoencoderBound, CosineBound, Loss, SmootherBound
from learnmm.hessian import Route
from learnmm.linear import Boundary, Form

POINTS = torch.ones(2, 3)


def squares(x: torch.Tensor) -> torch.Tensor:
    return (x * x).sum(1)


SETTINGS = {
    "MatrixMap: form": (Form, lambda v: lmm.linear.MatrixMap(torch.eye(3), v), "form"),
    "CosineDistance: bound": (CosineBound, lambda v: lmm.CosineDistance(POINTS, v), "mode"),
    "LinearSmootherPrior: bound": (
        SmootherBound,
        lambda v: lmm.LinearSmootherPrior(torch.eye(3), v),
        "mode",
    ),
    "AutoencoderPrior: bound": (
        AutoencoderBound,
        lambda v: lmm.AutoencoderPrior(nn.Linear(3, 3), v),
        "mode",
    ),
    "HalfQuadratic: loss": (Loss, lambda v: lmm.HalfQuadratic(POINTS, v), "loss"),
    "convolution: boundary": (
        Boundary,
        lambda v: lmm.linear.convolution(torch.ones(3), (5,), v),
        None,
    ),
    "LanczosMajorant: route": (
        Route,
        lambda v: lmm.majorants.LanczosMajorant(squares, route=v),
        "route",
    ),
    "PowerIterationMajorant: route": (
        Route,
        lambda v: lmm.majorants.PowerIterationMajorant(squares, route=v),
        "route",
    ),
    "hessian_product: route": (
        Route,
        lambda v: lmm.hessian.hessian_product(squares, POINTS, v),
        None,
    ),
}
by_setting = pytest.mark.parametrize("setting", SETTINGS)


@by_setting
def test_a_string_becomes_the_choice_that_it_names(setting):
    choices, make, name = SETTINGS[setting]
    for choice in choices:
        for given in (choice, choice.value, "".join(choice.value)):
            made = make(given)
            if name is not None:
                assert getattr(made, name) is choice


@by_setting
@pytest.mark.parametrize("wrong", ["", "GLOBAL", "exact", 3, None, ["global"]], ids=repr)
def test_another_value_is_refused_with_the_choices(setting, wrong):
    choices, make, _ = SETTINGS[setting]
    with pytest.raises(ValueError) as caught:
        make(wrong)
    message = str(caught.value)
    assert message.startswith(f"{setting} must be ")
    assert message.endswith(f"got {wrong!r}")
    assert all(repr(choice.value) in message for choice in choices)


def test_choices_survive_what_settings_go_through():
    """JSON writes the string, and the string comes back as the choice."""
    for choices, _, _ in SETTINGS.values():
        for choice in choices:
            assert choices(json.loads(json.dumps(choice))) is choice
            assert f"{choice}" == choice.value
