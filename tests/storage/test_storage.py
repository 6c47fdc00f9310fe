"""Weights come back as they were, or not at all; a module is filled as a whole, or not at all."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm import storage

CONFIG = {"width": 3, "layers": [1, 2], "inner": {"kind": "conv", "bias": True, "scale": None}}


class Net(nn.Module):
    """Parameters and buffers of several dtypes and shapes, tied, transposed, empty and scalar."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        self.wide = nn.Parameter(torch.randn(2, 5, dtype=torch.float64).T)
        self.tied = self.linear.bias
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("empty", torch.zeros(0, 4))
        self.register_buffer("scale", torch.tensor(0.1))
        self.register_buffer("narrow", torch.tensor([0.1], dtype=torch.float16))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        a.dtype == other[name].dtype and torch.equal(a, other[name]) for name, a in one.items()
    )


def copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


@pytest.fixture
def saved(path: Path) -> Net:
    torch.manual_seed(1)
    net = Net()
    lmm.save_weights(path, net, CONFIG)
    return net


# --- round trips -----------------------------------------------------------------------------


def test_weights_come_back_to_the_bit(path: Path, saved: Net) -> None:
    tensors, config = lmm.load_weights(path)
    assert same(tensors, saved.state_dict())
    assert config == CONFIG
    assert storage.load_notes(path) == {}


def test_a_module_is_filled_where_it_is(path: Path, saved: Net) -> None:
    torch.manual_seed(2)
    other = Net()
    before = {name: p.data_ptr() for name, p in other.named_parameters()}
    lmm.load_weights(path, other, expect={"width": 3, "inner": CONFIG["inner"]})
    assert same(other.state_dict(), saved.state_dict())
    assert before == {name: p.data_ptr() for name, p in other.named_parameters()}


def test_same_content_same_bytes(path: Path, saved: Net) -> None:
    content = path.read_bytes()
    lmm.save_weights(str(path), saved, dict(reversed(CONFIG.items())))
    assert path.read_bytes() == content


def test_half_precision_comes_back_in_the_dtypes_it_had(path: Path, saved: Net) -> None:
    exact = copy(saved)
    lmm.save_weights(path, saved, CONFIG, half=True)
    stored, _ = storage.read_tensors(path, storage.WEIGHTS, storage.HEADER)
    assert {t.dtype for t in stored.values() if t.is_floating_point()} == {torch.float16}
    tensors, config = lmm.load_weights(path, saved)  # fits the module: the dtypes it had
    assert config == CONFIG
    rounded = {n: t.half().to(t.dtype) if t.is_floating_point() else t for n, t in exact.items()}
    assert same(tensors, rounded)
    assert same(saved.state_dict(), rounded)
    assert not torch.equal(rounded["wide"], exact["wide"])


def test_half_precision_refuses_what_it_cannot_hold(path: Path, saved: Net) -> None:
    before = path.read_bytes()
    with torch.no_grad():
        saved.linear.weight[0, 0] = 1e5
    with pytest.raises(ValueError, match=r"finite as float16 .* are not: linear\.weight$"):
        lmm.save_weights(path, saved, CONFIG, half=True)
    assert path.read_bytes() == before


def test_notes_are_kept_apart_from_the_configuration(path: Path) -> None:
    lmm.save_weights(path, nn.Linear(1, 1), {}, notes={"loss": 0.25})
    assert storage.load_notes(path) == {"loss": 0.25}
    assert lmm.load_weights(path)[1] == {}


def test_folders_are_made(tmp_path: Path) -> None:
    lmm.save_weights(tmp_path / "a" / "b" / "net.safetensors", nn.Linear(1, 1), {})
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["net.safetensors"]


# --- refusals: the module is as it was -------------------------------------------------------


def refuse(path: Path, message: str, module: nn.Module | None = None, **settings: Any) -> None:
    module = module or Net()
    before = copy(module)
    with pytest.raises(ValueError, match=message):
        lmm.load_weights(path, module, **settings)
    assert same(module.state_dict(), before)


def test_configurations_differ_entry_by_entry(path: Path, saved: Net) -> None:
    expect = {"width": 4, "depth": 2, "layers": [1, 3], "inner": {"kind": "fft", "bias": 1}}
    refuse(
        path,
        r"another configuration: depth is not in the file, expected 2; "
        r"inner\.bias is True in the file, expected 1; "
        r"inner\.kind is 'conv' in the file, expected 'fft'; "
        r"inner\.scale is None in the file, not expected; "
        r"layers is \[1, 2\] in the file, expected \[1, 3\]; "
        r"width is 3 in the file, expected 4$",
        expect=expect,
    )


def test_tuples_and_whole_numbers_are_what_json_makes_of_them(path: Path, saved: Net) -> None:
    lmm.load_weights(path, expect={"layers": (1, 2), "width": 3.0})


def test_another_architecture(path: Path, saved: Net) -> None:
    refuse(path, r"linear\.weight has shape \(2, 3\) .*, expected \(2, 4\)", Net(4))
    refuse(path, r"linear\.bias has .* torch\.float32, expected .* torch\.float64", Net().double())
    more = Net()
    more.register_buffer("more", torch.zeros(1))
    refuse(path, "does not fit the module: more is missing$", more)
    fewer = Net()
    del fewer.scale
    refuse(path, "does not fit the module: scale is not in the module$", fewer)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite(path: Path, saved: Net, value: float) -> None:
    before = path.read_bytes()
    saved.scale = torch.tensor(value)
    with pytest.raises(ValueError, match=r"finite to be stored, but are not: scale$"):
        lmm.save_weights(path, saved, CONFIG)
    assert path.read_bytes() == before
    header = {"config": {}, "notes": {}, "dtypes": {}}
    storage.write_tensors(path, storage.state_tensors(saved), storage.WEIGHTS, header)
    refuse(path, "weights that are not finite: scale$")


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_pickles_are_refused_and_not_run(path: Path, tmp_path: Path, write: str) -> None:
    trap = Trap(tmp_path / "trace")
    with path.open("wb") as file:
        pickle.dump(trap, file) if write == "pickle" else torch.save(trap, file)
    refuse(path, "no complete safetensors file .*; pickles are never read")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files(path: Path, saved: Net, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refuse(path, "no complete safetensors file")


def test_headers_that_promise_too_much(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    refuse(path, "no complete safetensors file")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not one of learnmm"),
        ({"format": "pt"}, "not one of learnmm"),
        ({"learnmm": "["}, "not one of learnmm"),
        ({"learnmm": "[1]"}, "not one of learnmm"),
        ({"learnmm": json.dumps({"version": 1})}, "not one of learnmm"),
        (
            {"learnmm": json.dumps({"format": "learnmm checkpoint", "version": 1})},
            "holds 'learnmm checkpoint', version 1; expected 'learnmm weights', version 1",
        ),
        ({"learnmm": json.dumps({"format": "learnmm weights", "version": 2})}, "version 2; expec"),
        (
            {"learnmm": json.dumps({"format": "learnmm weights", "version": 1, "config": {}})},
            r"lacks \['notes', 'dtypes'\]",
        ),
    ],
)
def test_foreign_files(path: Path, metadata: dict[str, str] | None, message: str) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, path, metadata)
    refuse(path, message)


def test_missing_files(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*net\.safetensors"):
        lmm.load_weights(path)
    with pytest.raises(FileNotFoundError):
        lmm.load_weights(path.parent)


# --- what cannot be stored -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": torch.ones(1)}, "config must be what JSON can say: .*Tensor"),
        ({"a": float("nan")}, "config must be what JSON can say"),
        ([1], "config must be a mapping, got list"),
    ],
)
def test_configurations_are_json(path: Path, config: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        lmm.save_weights(path, nn.Linear(1, 1), config)
    assert not path.exists()


def test_states_are_tensors(path: Path) -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> Any:
            return {"a": 1}

    message = "state of Extra must be tensors, but '_extra_state' is dict"
    with pytest.raises(TypeError, match=message):
        lmm.save_weights(path, Extra(1, 1), {})


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(
    path: Path, saved: Net, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(*arguments: Any) -> None:
        assert path.read_bytes() == before  # not touched so far
        raise OSError("disk full")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        lmm.save_weights(path, Net(), {"other": 1})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# --- extras ----------------------------------------------------------------------------------

BLOCKED = """
import sys
for name in ("lightning_fabric", "lightning", "safetensors", "rich", "matplotlib"):
    sys.modules[name] = None
import torch, learnmm as lmm
for call, module in (
    (lambda: lmm.save_weights("w.safetensors", torch.nn.Linear(1, 1), {}), "safetensors"),
    (lambda: lmm.load_weights("w.safetensors"), "safetensors"),
    (
        lambda: lmm.fit(
            torch.nn.Linear(1, 1), torch.ones(4, 1), print, lmm.FitSettings(20, 1)
        ),
        "Lightning Fabric",
    ),
):
    try:
        call()
    except ImportError as error:
        assert module in str(error) and "pip install 'learnmm[train]'" in str(error), error
    else:
        raise AssertionError(module)
assert lmm.training.FitResult.__name__ == "FitResult"
"""


def test_the_core_needs_torch_alone(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", BLOCKED], check=True, cwd=tmp_path)


def test_only_training_imports_lightning() -> None:
    package = Path(lmm.__file__).parent
    files = [p for p in package.rglob("*.py") if "import lightning" in p.read_text()]
    files += [p for p in package.rglob("*.py") if "from lightning" in p.read_text()]
    assert files
    assert all(p.parent.name == "training" for p in files)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'learnmm' has no attribute 'fitt'"):
        _ = lmm.fitt
