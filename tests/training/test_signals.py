"""A run that is interrupted or killed ends, resumed, as an unbroken one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import learnmm as lmm
from fitting import (
    Broken,
    breaking,
    environment,
    filled,
    header,
    log,
    numbers,
    same,
    train,
)


def test_a_killed_process_changes_nothing(
    tmp_path: Path, unbroken: tuple[lmm.training.FitResult, nn.Module]
) -> None:
    killed = subprocess.run([sys.executable, __file__, str(tmp_path)], env=environment())
    assert killed.returncode == -signal.SIGKILL
    assert log(tmp_path)[-1]["step"] == 14
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 15, "lo')  # what a crash may leave behind
    (tmp_path / ".last.safetensors.0123").write_bytes(b"torn")
    result, model = train(tmp_path)
    assert numbers(result) == numbers(unbroken[0])
    assert log(tmp_path) == list(result.history)
    assert same(model, unbroken[1])
    assert same(model, filled(tmp_path))
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT as at a terminal, also where the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored(
    tmp_path: Path, unbroken: tuple[lmm.training.FitResult, nn.Module]
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result, model = train(tmp_path, breaking(8, lambda: os.kill(os.getpid(), signal.SIGINT)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.steps == unbroken[0].steps
    assert same(model, unbroken[1])


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Broken)]
)
def test_signals_leave_a_checkpoint(
    tmp_path: Path,
    unbroken: tuple[lmm.training.FitResult, nn.Module],
    number: signal.Signals,
    error: type[BaseException],
) -> None:
    def handle(*arguments: Any) -> None:
        raise Broken

    before = signal.signal(signal.SIGTERM, handle)
    try:
        loss = breaking(8, lambda: os.kill(os.getpid(), number))
        with pytest.raises(error):
            train(tmp_path, loss, checkpoint_minutes=1e9)
        assert signal.getsignal(signal.SIGTERM) is handle
    finally:
        signal.signal(signal.SIGTERM, before)
    assert log(tmp_path)[-1]["step"] == 8
    assert header(tmp_path)["counters"]["step"] == 8  # the step was finished, none was begun
    result, model = train(tmp_path)
    assert numbers(result) == numbers(unbroken[0])
    assert same(model, unbroken[1])


@pytest.mark.usefixtures("interrupts")
def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, breaking(8, twice), checkpoint_minutes=1e9)
    assert not (tmp_path / "last.safetensors").exists()


def killed_at_step_15(folder: Path) -> None:
    """Train in a process of its own; a test starts this file as a script."""
    torch.set_num_threads(1)
    train(folder, breaking(15, lambda: os.kill(os.getpid(), signal.SIGKILL)))


if __name__ == "__main__":
    killed_at_step_15(Path(sys.argv[1]))
