"""A training folder has one writer, and survives kills and full disks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from fitting import environment, flat
from learnmm.training.log import curve

NAMES = ["best.safetensors", "curve.png", "last.safetensors", "log.jsonl"]


def train(
    folder: Path, at: int = -1, action: Callable[[], None] = lambda: None, **changes: Any
) -> tuple[lmm.training.FitResult, nn.Module]:
    """Fit a line; something happens in step `at`, counted from 1 in this process."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    data = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    calls = 0

    def loss(output: Tensor, batch: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == at:
            action()
        return (output - batch.sum(1, keepdim=True)).square().mean()

    chosen = {"steps": 12, "batch_size": 8, "warmup": 0, "validate_every": 3, "lr": 0.1}
    record = lmm.Record(folder, checkpoint_minutes=0)
    return lmm.fit(model, data, loss, flat(**{**chosen, **changes}), record=record), model  # type: ignore[arg-type]


def numbers(result: lmm.training.FitResult) -> Any:
    rows = [{n: v for n, v in row.items() if n != "seconds"} for row in result.history]
    return rows, result.best_loss, result.best_step, result.steps


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    result, model = train(tmp_path_factory.mktemp("unbroken"))
    return numbers(result), model.weight.detach()


# --- one writer ------------------------------------------------------------------------------


def test_a_second_training_is_refused_at_once_and_says_by_whom(tmp_path: Path) -> None:
    message = rf"another training writes to .* \(process {os.getpid()} on .+\): choose another"
    refused = []

    def again() -> None:
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        for resume in (True, False):
            with pytest.raises(RuntimeError, match=message):
                lmm.fit(
                    nn.Linear(1, 1),
                    torch.ones(4, 1),  # type: ignore[arg-type]
                    lambda output, batch: output.mean(),
                    flat(steps=1, batch_size=1, warmup=0),
                    record=lmm.Record(tmp_path, resume=resume),
                )
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        refused.append(True)

    train(tmp_path, 5, again)
    assert refused
    assert names(tmp_path) == NAMES  # and the lock is gone


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path, unbroken: Any) -> None:
    errors = []

    def again() -> None:
        run = [sys.executable, __file__, "train", str(tmp_path)]
        second = subprocess.run(run, capture_output=True, text=True, env=environment())
        assert second.returncode == 1
        errors.append(second.stderr)

    result, model = train(tmp_path, 5, again)
    assert f"(process {os.getpid()} on " in errors[0]
    assert numbers(result) == unbroken[0]
    assert torch.equal(model.weight, unbroken[1])
    assert names(tmp_path) == NAMES


def test_two_threads_never_train_in_one_folder(tmp_path: Path, unbroken: Any) -> None:
    outcomes: list[Any] = []

    def start() -> None:
        try:
            outcomes.append(numbers(train(tmp_path)[0]))
        except RuntimeError as error:
            outcomes.append(str(error))

    def beside() -> None:
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()

    assert numbers(train(tmp_path, 4, beside)[0]) == unbroken[0]
    assert len(outcomes) == 1
    assert "another training writes to" in outcomes[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_ends_with_its_process(
    tmp_path: Path, unbroken: Any, number: signal.Signals
) -> None:
    run = [sys.executable, __file__, number.name, str(tmp_path)]
    assert subprocess.run(run, env=environment()).returncode == -number
    if number == signal.SIGKILL:
        assert ".lock" in names(tmp_path)  # which locks nothing
    result, model = train(tmp_path)
    assert numbers(result) == unbroken[0]
    assert torch.equal(model.weight, unbroken[1])
    assert names(tmp_path) == NAMES


def test_an_error_releases_the_folder(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        train(tmp_path, 2, fail)
    train(tmp_path)


def test_leftovers_of_dead_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = [".last.safetensors.backup", ".curve.png.old", "notes.txt", ".other.0123456789abcdef"]
    for name in [*mine, *(f".{name}.0123456789abcdef" for name in NAMES)]:
        (tmp_path / name).write_text("x")
    (tmp_path / ".log.jsonl.fedcba9876543210").mkdir()
    (tmp_path / ".log.jsonl.fedcba9876543210" / "log.jsonl").write_text("x")
    train(tmp_path)
    assert names(tmp_path) == sorted([*NAMES, *mine])


def together(folder: Path) -> None:
    """In two processes of one launch: refused in both, then trained in both."""
    rank = int(os.environ["RANK"])
    if rank == 0:
        from filelock import FileLock

        folder.mkdir()
        held = FileLock(folder / ".lock")
        held.acquire()
    torch_ready()
    with pytest.raises(RuntimeError, match=r"another training writes|process 0 could not lock"):
        train(folder)
    if rank == 0:
        held.release()
    result, _ = train(folder)
    assert result.steps == 12
    torch.distributed.destroy_process_group()  # or a thread of it may outlive what it works with


def torch_ready() -> None:
    """Let process 1 wait until process 0 holds the lock."""
    torch.distributed.init_process_group("gloo")
    torch.distributed.barrier()


def test_two_processes_of_one_launch_are_refused_together(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run += [__file__, "together", str(tmp_path / "two")]
    subprocess.run(run, check=True, env=environment(), timeout=240)
    assert names(tmp_path / "two") == NAMES


# --- full disks ------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1500])
def test_a_full_disk_leaves_a_run_that_can_go_on(tmp_path: Path, unbroken: Any, limit: int) -> None:
    run = [sys.executable, __file__, "full", str(tmp_path), str(limit)]
    full = subprocess.run(run, capture_output=True, text=True, env=environment())
    assert full.returncode == 1
    last = full.stderr.splitlines()[-1]
    assert last.startswith("OSError: [Errno 27] File too large: ")
    assert any(f"{tmp_path}/{name}'" in last for name in NAMES)
    step = lmm.storage.read_tensors(tmp_path / "last.safetensors", "learnmm checkpoint", ())[1]
    assert step["counters"]["step"] == 7
    result, model = train(tmp_path)
    assert numbers(result) == unbroken[0]
    assert torch.equal(model.weight, unbroken[1])
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == list(
        result.history
    )
    assert names(tmp_path) == NAMES


def fill_disk(limit: int) -> None:
    """Files cannot grow beyond this size from now on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def test_the_model_has_its_best_weights_though_the_disk_is_full(tmp_path: Path) -> None:
    run = [sys.executable, __file__, "best", str(tmp_path)]
    subprocess.run(run, check=True, env=environment())


def best_though_full(folder: Path) -> None:
    torch.manual_seed(0)
    line = nn.Linear(1, 1)

    def loss(output: Tensor, batch: Tensor) -> Tensor:
        if len(weights) == 4:
            fill_disk(0)
        weights.append(line.weight.item())
        return (output - 3 * batch).square().mean()

    weights: list[float] = []
    settings = flat(steps=9, batch_size=4, warmup=0, validate_every=2, lr=0.1)
    with pytest.raises(OSError, match="too large"):
        lmm.fit(line, torch.ones(4, 1), loss, settings, record=lmm.Record(folder))  # type: ignore[arg-type]
    assert line.weight.item() == weights[4]  # of the check after step 4


def test_a_folder_that_is_a_file_is_named_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    def fail() -> None:
        raise AssertionError("no step is done")

    with pytest.raises(OSError, match=str(tmp_path / "file")):
        train(tmp_path / "file", 1, fail)


# --- what is drawn ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e-9, 123456.0, -1.0])
def test_nothing_of_the_curve_is_cut(scale: float) -> None:
    rows = [{"step": k, "loss": scale * (0.61 + 0.01 * k)} for k in range(1, 30)]
    figure = curve(rows)
    assert figure is not None
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (border == 255).all()
    assert (pixels < 128).any()


def test_bars_have_names(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = flat(steps=2, batch_size=2, warmup=0)
    for progress, name in ((True, "fit"), ("start [bold]", "start [bold]")):
        lmm.fit(
            nn.Linear(1, 1),
            torch.ones(4, 1),  # type: ignore[arg-type]
            lambda output, batch: output.square().mean(),
            settings,
            record=lmm.Record(progress=progress),
        )
        assert capfd.readouterr().err.strip().startswith(name)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"seed": 2**63}, ValueError, "seed must be at most 2.63 - 1, got 9223372036854775808"),
        ({"steps": 10**400}, ValueError, "steps must be at most 2.63 - 1, got 1000"),
        ({"lr": 10**400}, ValueError, "lr must be positive and finite, got 1000"),
        ({"lr_factors": {1: 0.5}}, TypeError, "must have prefixes of names as keys, got 1"),
    ],
)
def test_settings_beyond_what_numbers_hold(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        flat(**{"steps": 30, **changes})


if __name__ == "__main__":
    action, folder = sys.argv[1], Path(sys.argv[2])
    if action == "train":
        train(folder)
    elif action == "together":
        together(folder)
    elif action == "full":
        train(folder, 8, lambda: fill_disk(int(sys.argv[3])))
    elif action == "best":
        best_though_full(folder)
    else:
        train(folder, 8, lambda: os.kill(os.getpid(), signal.Signals[action]))
