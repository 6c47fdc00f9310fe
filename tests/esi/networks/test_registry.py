"""The registry: methods are listed without an import, outsiders' are as good as the library's."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from eeg_learning import TIMES, VARIANTS, recordings
from learnmm_esi.networks import methods as shipped
from learnmm_esi.networks import registry
from learnmm_esi.networks.energy import PriorSettings
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.method import UNVERIFIED, Method, Recordings
from learnmm_esi.networks.registry import method, method_class, methods, register
from learnmm_esi.networks.solver import SourceSolver, weight_layout
from learnmm_esi.training.presets import load_preset

FILES = {name for _, name, _ in pkgutil.iter_modules(shipped.__path__)}

NEW = '''
"""Nothing but a number."""
from dataclasses import dataclass
import learnmm as lmm
from learnmm_esi.networks.method import Method

@dataclass(frozen=True)
class Number(Method):
    name = "number"
    summary = "one number for all multipliers"
    first: float = 1.0

    def proposer(self, matrix, times):
        return lmm.proposers.Constant(initial=self.first)
'''


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is registered but for what the test registers."""
    monkeypatch.setattr(registry, "_registered", {})


def test_every_file_is_a_method_that_says_what_its_class_says(empty: None) -> None:
    listed = methods()
    assert list(listed) == sorted(listed)
    assert len(listed) == len(FILES)
    homes = set()
    for name, summary in listed.items():
        kind = method_class(name)
        assert (kind.name, kind.summary) == (name, summary)
        homes.add(kind.__module__.rpartition(".")[2])
    assert homes == FILES


def test_listing_imports_neither_torch_nor_a_method() -> None:
    code = (
        "import sys; from learnmm_esi.networks.registry import methods; assert methods();"
        "print([m for m in sys.modules if m in ('torch', 'mne') or '.methods.' in m])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_file_makes_a_method(
    empty: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, head: Any
) -> None:
    """Nothing else need be touched to list, to configure, to solve, to save and to load."""
    (tmp_path / "number.py").write_text(NEW)
    monkeypatch.setattr(shipped, "__path__", [*shipped.__path__, str(tmp_path)])
    registry._shipped.cache_clear()
    try:
        assert methods()["number"] == "one number for all multipliers"
        (tmp_path / "mine.toml").write_text("[method]\nfirst = 0.5")
        made = load_preset(tmp_path / "mine.toml", "number").method
        assert made == method("number", first=0.5)
        solver = SourceSolver(head, made, Recordings(TIMES))
        assert solver(recordings(head)).values.diff(dim=0).max() <= 0
        save_solver(tmp_path / "w.safetensors", solver, {"data": "erp"}, {})
        assert load_solver(tmp_path / "w.safetensors", head).method == made
    finally:
        registry._shipped.cache_clear()
        del sys.modules[f"{shipped.__name__}.number"]


def test_the_variants_of_the_ablation_are_registered_by_their_script() -> None:
    assert {"mm-net-a", "mm-net-b", "mm-net-c", "mm-net-d"} <= set(methods())
    assert method_class("mm-net-a") is VARIANTS.Elementwise
    assert all(method(f"mm-net-{letter}").verified for letter in "abcd")


@dataclass(frozen=True)
class Own(Method):
    """One number for all multipliers."""

    name = "own"
    summary = "one number"

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        return lmm.proposers.Constant()


def named(**attributes: Any) -> type[Method]:
    return type("Named", (Own,), attributes)


def test_a_registered_method_is_found_and_is_itself(empty: None) -> None:
    assert register(Own) is Own
    assert register(Own) is Own  # as where a script is run again
    assert methods()["own"] == "one number"
    assert method("own", steps=3) == Own(steps=3)
    assert Own().verified
    assert not named(solve=UNVERIFIED)().verified


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (torch.nn.Linear, TypeError, "a concrete subclass of Method, got <class 'torch"),
        (Own(), TypeError, "a concrete subclass of Method, got Own"),
        (Method, TypeError, "a concrete subclass of Method, got <class"),
        (named(name="../x"), ValueError, r"the name of Named must be .*, got '\.\./x'"),
        (named(name=None), ValueError, "the name of Named must be .*, got None"),
        (named(summary=""), ValueError, "the summary of own must be one line of text, got ''"),
        (named(summary="a\nb"), ValueError, "the summary of own must be one line of text"),
        (named(name="mm-net"), ValueError, "there is a method called mm-net already"),
    ],
)
def test_what_cannot_be_a_method_is_refused(
    empty: None, kind: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        register(kind)


def test_two_methods_of_one_name_are_refused(empty: None) -> None:
    register(Own)
    with pytest.raises(ValueError, match="there is a method called own already"):
        register(named())


def test_an_unknown_method_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"method must be one of 4dvarnet, .*, got 'unet'"):
        method("unet")
    with pytest.raises(TypeError, match="hiden"):
        method("mm-net", hiden=3)
    with pytest.raises(ValueError, match="prior must be PriorSettings, got 3"):
        method("mm-net", prior=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": 4}, "kernel must be odd, got 4"),
        ({"steps": 10_001}, "steps must be a positive integer, at most 10000, got 10001"),
        ({"start": "random"}, "start must be one of .*'noise'.*, got 'random'"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method("mm-net", **settings)
    with pytest.raises(ValueError, match="reach must be odd, got 2"):
        PriorSettings(reach=2)


def test_weights_beyond_any_memory_are_told_before_they_are_made() -> None:
    many = method("modgrad", hidden=2**20)
    with pytest.raises(ValueError, match="settings of weights beyond any memory: "):
        weight_layout(many, Recordings(), sources=10**12)
