"""Options: each has one home, and those of MNE-Python are refused with the reason."""

from __future__ import annotations

import dataclasses
import inspect

import mne
import numpy as np
import pytest

from learnmm_esi.recordings.apply import ApplyOptions, MMInverse, apply_mm
from learnmm_esi.recordings.mne_options import REASONS
from learnmm_esi.recordings.raw_parts import RawSpan
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings


def known_here() -> set[str]:
    """Options of `apply_mm`, those that it hands on among them."""
    apply = set(inspect.signature(MMInverse.apply).parameters) - {"self", "inst", "options"}
    assert apply == set(ApplyOptions.__annotations__)
    return apply | set(inspect.signature(apply_mm).parameters)


def test_each_option_has_one_home(coarse_model):
    """Every field of a group is told where it belongs, and no reason is for what there is."""
    groups = (InverseSettings, SensorSettings, RawSpan)
    names = [field.name for group in groups for field in dataclasses.fields(group)]
    for name in names:
        group = next(one for one in groups if name in one.__dataclass_fields__)
        assert f"{group.__name__}({name}=...)" in REASONS[name]
    assert not set(REASONS) & known_here()


@pytest.mark.parametrize("name", sorted(REASONS))
def test_options_of_mne_are_refused_with_the_reason(coarse_model, inverse, evoked, name):
    for function, call in (
        ("apply_mm", lambda: apply_mm(evoked, coarse_model, **{name: 1})),
        ("MMInverse", lambda: MMInverse(coarse_model, **{name: 1})),
        ("apply", lambda: inverse.apply(evoked, **{name: 1})),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"{function}() has no option {name}: {REASONS[name]}"


def test_every_option_of_mnes_inverses_is_known_here():
    inverses = mne.minimum_norm
    functions = (
        inverses.apply_inverse, inverses.apply_inverse_epochs, inverses.apply_inverse_raw,
        inverses.make_inverse_operator,
    )  # fmt: skip
    ours = known_here() | {"evoked", "epochs", "raw", "info", "forward", "inverse_operator"}
    theirs = {name for one in functions for name in inspect.signature(one).parameters}
    assert theirs - ours <= set(REASONS)


def test_other_words_are_python_errors(coarse_model, evoked):
    with pytest.raises(TypeError, match=r"apply_mm\(\) got an unexpected .* 'wieght'"):
        apply_mm(evoked, coarse_model, wieght=2.0)
    with pytest.raises(TypeError, match=r"settings must be InverseSettings\(...\), got 'mm-net"):
        apply_mm(evoked, coarse_model, "mm-net")
    with pytest.raises(TypeError, match=r"sensors must be SensorSettings\(...\), got 'cov.fif'"):
        MMInverse(coarse_model, sensors="cov.fif")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transfer": True}, "transfer=True says how to use weights, and there are none"),
        ({"weight": -1.0}, "weight and diffusion must be positive, got -1.0, None"),
        ({"diffusion": np.inf}, "got None, inf, and at most 1e"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1, got 0"),
        ({"diffusion": np.nan}, "weight and diffusion must be positive, got None, nan"),
        (
            {"weights": "w", "weight": 2.0},
            "a trained method has its own, got 2.0, None and weights",
        ),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        InverseSettings(**settings)
