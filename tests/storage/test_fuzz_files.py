"""Files that anybody may have written or damaged: refused with the one promised error.

Nothing is changed by a load that fails, and nothing is allocated that the file does not hold.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from damage import JUNK, crafted, hashed, joined, refusal, split, variants, within
from learnmm import storage
from learnmm.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from learnmm.training.log import Log
from learnmm.training.weights import Counters, Weights

CONFIG = {"width": 3, "layers": [1, 2], "inner": {"scale": None, "name": "conv"}}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.wide = nn.Parameter(torch.randn(4, 2, dtype=torch.float64))


# --- the format ------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    lmm.save_weights(path, Net(), CONFIG)
    whole, data = split(path.read_bytes())
    ours = json.loads(whole["__metadata__"]["learnmm"])
    path.write_bytes(hashed(whole, {**ours, "notes": {"changed": True}}, data))
    assert storage.load_notes(path) == {"changed": True}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states are the same to the byte, NaN included."""
    return one.keys() == other.keys() and all(
        a.dtype == other[name].dtype and a.shape == other[name].shape and raw(a) == raw(other[name])
        for name, a in one.items()
    )


def raw(tensor: Tensor) -> bytes:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()


# --- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_weights_load_as_they_were_or_not_at_all(tmp_path: Path, half: bool) -> None:
    path = tmp_path / "net.safetensors"
    torch.manual_seed(0)
    lmm.save_weights(path, Net(), CONFIG, half=half, notes={"loss": 0.5})
    good = lmm.load_weights(path)
    content = path.read_bytes()
    module = Net()
    before = storage.state_tensors(module)
    refused = 0
    for damaged in [*variants(content, 200, seed=1), *crafted(content)]:
        path.write_bytes(damaged)
        with refusal() as error:
            tensors, config = lmm.load_weights(path, module)
        if error:
            refused += 1
            assert same(storage.state_tensors(module), before)
            continue
        # Only what somebody has written with intent, and a right hash, may differ.
        assert same(tensors, good[0])
        assert config == good[1] or damaged[:8] != content[:8]
        module.load_state_dict(before)
    assert refused > 350


def test_one_flipped_bit_never_goes_unseen(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    lmm.save_weights(path, nn.Linear(2, 1), {"a": 1}, notes={"loss": 0.5})
    content = path.read_bytes()
    module = nn.Linear(2, 1)
    before = storage.state_tensors(module)
    for bit in range(0, 8 * len(content), 7):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"net\.safetensors"):
            lmm.load_weights(path, module)
    assert same(storage.state_tensors(module), before)


def test_a_flip_in_the_data_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    lmm.save_weights(path, nn.Linear(2, 1), {})
    damaged = bytearray(path.read_bytes())
    damaged[-2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="is damaged: its content does not match its hash"):
        lmm.load_weights(path)
    with pytest.raises(ValueError, match="is damaged"):
        storage.load_notes(path)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.uint16, torch.uint32, torch.uint64])
def test_other_dtypes_are_read_again(tmp_path: Path, dtype: torch.dtype) -> None:
    module = nn.Module()
    module.register_buffer("part", torch.arange(3).to(dtype))
    lmm.save_weights(tmp_path / "net.safetensors", module, {})
    tensors, _ = lmm.load_weights(tmp_path / "net.safetensors")
    assert torch.equal(tensors["part"], torch.arange(3).to(dtype))


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    module = nn.Module()
    module.register_buffer("part", torch.ones(3, dtype=torch.complex128))
    with pytest.raises(TypeError, match=r"cannot hold tensors .*: part \(torch.complex128\)"):
        lmm.save_weights(tmp_path / "net.safetensors", module, {})
    assert not list(tmp_path.iterdir())


def test_a_file_without_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    lmm.save_weights(path, nn.Linear(2, 1), {"a": 1})
    whole, data = split(path.read_bytes())
    ours = json.loads(whole["__metadata__"]["learnmm"])
    del ours["sha256"]
    path.write_bytes(joined({**whole, "__metadata__": {"learnmm": json.dumps(ours)}}, data))
    for read in (lmm.load_weights, storage.load_notes):
        with pytest.raises(ValueError, match="is damaged: it has no hash"):
            read(path)


def test_what_is_read_does_not_follow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    lmm.save_weights(path, nn.Linear(2, 1), {})
    tensors, _ = lmm.load_weights(path)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    with path.open("rb+") as file:
        file.write(bytes(path.stat().st_size))
    assert same(tensors, before)


class Stubborn(nn.Module):
    """Its second tensor cannot be written to, which torch finds out after the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(2))
        self.register_buffer("second", torch.zeros(1).expand(3))
        self.third = nn.Parameter(torch.zeros(2))


def test_a_module_that_refuses_its_state_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    other = Stubborn()
    other.second = torch.ones(3)
    nn.init.ones_(other.first)
    lmm.save_weights(path, other, {})
    module = Stubborn()
    with pytest.raises(ValueError, match=r"cannot be loaded into the module: .*second"):
        lmm.load_weights(path, module)
    assert all(not tensor.any() for tensor in module.state_dict().values())
    lmm.save_weights(path, nn.Linear(2, 1), {})
    with pytest.raises(ValueError, match=r"Linear has tensors on the device meta"):
        lmm.load_weights(path, nn.Linear(2, 1, device="meta"))


def test_configurations_that_are_too_deep_are_not_written(tmp_path: Path) -> None:
    config: dict[str, Any] = {}
    for _ in range(100):
        config = {"a": config}
    with pytest.raises(TypeError, match="config must be what JSON can say: nested more than 64"):
        lmm.save_weights(tmp_path / "net.safetensors", nn.Linear(1, 1), config)


# --- checkpoints -----------------------------------------------------------------------------

RUN = {"settings": {"steps": 9, "lr": 0.1}, "config": {"a": [1]}, "samples": {"data": 4}}


def trained(seed: int) -> Weights:
    torch.manual_seed(seed)
    weights = Weights(Net(), {}, ema=0.9)
    for step in range(2):
        for parameter in weights.parameters.values():
            parameter.grad = torch.randn_like(parameter)
        weights.update(0.1, step + 1)
    weights.keep()
    return weights


COUNTERS = replace(
    Counters.at_start(), step=3, updates=2, skipped=1, best_loss=0.5, best_step=2, seconds=1.0
)


def test_a_checkpoint_is_taken_up_as_it_was_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    good = trained(0)
    save_checkpoint(path, good, COUNTERS, RUN)
    content = path.read_bytes()
    weights = trained(1)
    before = weights.tensors()
    counters = json.loads(split(content)[0]["__metadata__"]["learnmm"])["counters"]
    for damaged in [
        *variants(content, 200, seed=2),
        *crafted(content),
        *(hashed_counters(content, {**counters, n: junk}) for n in counters for junk in JUNK),
        *(hashed_counters(content, {n: counters[n] for n in counters if n != m}) for m in counters),
    ]:
        path.write_bytes(damaged)
        with refusal() as error:
            found = load_checkpoint(path, weights, RUN)
        if error:
            assert same(weights.tensors(), before)
            continue
        assert same(weights.tensors(), good.tensors())
        assert type(found.step) is int
        assert 0 <= found.best_step <= found.step
        weights = trained(1)


def hashed_counters(content: bytes, counters: Any) -> bytes:
    whole, data = split(content)
    ours = json.loads(whole["__metadata__"]["learnmm"])
    return hashed(whole, {**ours, "counters": counters}, data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 10**30}, "no run comes to .*step = 1000"),
        ({"step": -5}, "no run comes to .*step = -5"),
        ({"step": 3.0}, r"no run comes to step = 3\.0"),
        ({"step": 4}, "no run comes to skipped = 1, step = 4, updates = 2"),
        ({"updates": True}, "no run comes to updates = True"),
        ({"stopped_early": "no"}, "no run comes to stopped_early = 'no'"),
        ({"best_loss": None}, "no run comes to best_step = 2"),
        ({"best_loss": None, "best_step": 0}, "best weights or a best loss, not both"),
        ({"best_step": 4}, "no run comes to best_step = 4"),
        ({"streak": 2}, "no run comes to streak = 2"),
        ({"seconds": -1.0}, r"no run comes to seconds = -1\.0"),
        ({"window_count": 3}, "no run comes to window_count = 3"),
        ({"updates": 1, "skipped": 2}, "was updated 2 times"),
        ({"more": 1}, "its counters are .*'more'.*, expected"),
    ],
)
def test_counters_that_no_run_comes_to(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, trained(0), COUNTERS, RUN)
    content = path.read_bytes()
    counters = json.loads(split(content)[0]["__metadata__"]["learnmm"])["counters"]
    path.write_bytes(hashed_counters(content, {**counters, **changes}))
    weights = trained(1)
    before = weights.tensors()
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, weights, RUN)
    assert same(weights.tensors(), before)


@pytest.mark.parametrize("name", ["adam.step", "adam.exp_avg", "adam.exp_avg_sq"])
def test_moments_go_together(tmp_path: Path, name: str) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, trained(0), COUNTERS, RUN)
    tensors, header = storage.read_tensors(path, CHECKPOINT, ("run", "counters"))
    del tensors[f"{name}.wide"]
    entries = {"run": header["run"], "counters": header["counters"]}
    storage.write_tensors(path, tensors, CHECKPOINT, entries)
    with pytest.raises(ValueError, match=f"does not fit the module: {name}.wide is missing"):
        load_checkpoint(path, trained(1), RUN)
    tensors |= {f"{name}.wide": torch.ones(7), f"{name}.other": torch.ones(())}
    storage.write_tensors(path, tensors, CHECKPOINT, entries)
    with pytest.raises(ValueError, match=r"other is not in the module; .*wide has shape \(7,\)"):
        load_checkpoint(path, trained(1), RUN)


# --- logs ------------------------------------------------------------------------------------

ROWS = [{"step": k, "loss": 1.0 / k, "none": None} for k in range(1, 9)]
LINES = [json.dumps(row).encode() for row in ROWS]


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xfe",
        b"5",
        b"null",
        b"[]",
        b"{}",
        b'{"step": "3"}',
        b'{"step": 3, "loss": "x"}',
        b'{"step": 3, "loss": [1]}',
        b'{"step": 3, "loss": 1e999}',
        b'{"step": 3, "loss": NaN}',
        b'{"step": 3, "loss": ' + b"9" * 400 + b"}",
        b'{"step": true}',
        b'{"step": -3}',
        b'{"step": 3, "step": 3}',
        b'{"step": 3, "loss": 0.',
        b"[" * 100_000,
        b"",
    ],
)
def test_a_damaged_log_stops_no_resume(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "log.jsonl"
    content = b"\n".join([*LINES[:3], bad, *LINES[3:]]) + b"\n"
    path.write_bytes(content)
    log = Log(tmp_path, 6)
    assert log.rows == ROWS[:6]
    with pytest.warns(UserWarning, match=r"log\.jsonl is damaged in line 4: .* log\.damaged-1"):
        log.open()
    log.draw()
    log.close()
    assert (tmp_path / "log.damaged-1.jsonl").read_bytes() == content
    assert [json.loads(line) for line in path.read_text().splitlines()] == ROWS[:6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Log(tmp_path, 6)
        again.open()
    again.close()
    assert again.rows == ROWS[:6]


def test_what_a_crash_leaves_in_a_log_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(LINES) + b'\n{"step": 9, "lo')
    log = Log(tmp_path, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.open()
    log.close()
    assert log.rows == ROWS[:5]
    assert not list(tmp_path.glob("log.damaged*"))


def test_fuzzed_logs_raise_nothing(tmp_path: Path) -> None:
    rng = random.Random(3)
    content = b"\n".join(LINES) + b"\n"
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (tmp_path / "log.jsonl").write_bytes(damaged)
        log = Log(tmp_path, 6)
        assert all(0 < row["step"] <= 6 for row in log.rows)


# --- memory ----------------------------------------------------------------------------------


def test_nothing_is_allocated_that_a_file_does_not_hold(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])}
    run = subprocess.run([sys.executable, __file__, str(tmp_path)], check=False, env=environment)
    assert run.returncode == 0


if __name__ == "__main__":
    path = Path(sys.argv[1]) / "net.safetensors"
    lmm.save_weights(path, Net(), CONFIG)
    good = path.read_bytes()
    lmm.load_weights(path, Net())
    within(megabytes=64)
    for damaged in crafted(good):
        path.write_bytes(damaged)
        with refusal():
            lmm.load_weights(path, Net())
