"""Several processes train one model as one process would, and stop together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from fitting import (
    breaking,
    crash,
    environment,
    header,
    log,
    train,
)
from learnmm.training.sampling import derive

RANK = int(os.environ.get("RANK", "0"))


def train_together(folder: Path, action: Callable[[], None] = crash, at: int = -1) -> Any:
    """Train without batch statistics and dropout, which differ between processes."""

    class Plain(nn.Sequential):
        def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            output: Tensor = super().forward(batch[0])
            return output

    def loss(output: Tensor, batch: tuple[Tensor, Tensor]) -> Any:
        value, scalars = breaking_loss(output, batch)
        return value, {**scalars, "draw": torch.rand(())}

    breaking_loss = breaking(at, action)
    torch.manual_seed(RANK)  # the weights of process 0 are those of all
    model = Plain(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    chosen = {"steps": 5, "validate_every": 2, "warmup": 0, "checkpoint_minutes": 1e9}
    return train(folder, loss, model, forward=None, **chosen)


def together(folder: Path) -> None:
    """Interrupt process 1 alone, then go on, in the processes of one launch.

    A test launches this file as a script.
    """

    def interrupt() -> None:
        if RANK == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_together(folder / str(RANK), interrupt, at=3)
    if RANK == 0:
        assert header(folder / "0")["counters"]["step"] == 3
        shutil.copytree(folder / "0", folder / "1")  # for process 1 to resume from
    torch.distributed.barrier()
    before = {path.name: path.read_bytes() for path in (folder / "1").iterdir()}
    result, model = train_together(folder / str(RANK))
    assert before == {path.name: path.read_bytes() for path in (folder / "1").iterdir()}
    expected, _ = lmm.load_weights(folder / "0" / "best.safetensors")
    assert all(torch.equal(expected[name], t) for name, t in model.state_dict().items())
    assert [row.get("loss") for row in result.history] == [r.get("loss") for r in log(folder / "0")]


def test_two_processes_are_one(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run += [__file__, str(tmp_path / "two")]
    subprocess.run(run, check=True, env=environment())
    result, model = train_together(tmp_path / "one")
    tensors, _ = lmm.load_weights(tmp_path / "two" / "0" / "best.safetensors")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=1e-6)
    rows = log(tmp_path / "two" / "0")
    assert len(rows) == len(result.history)
    for row, expected in zip(rows, result.history, strict=True):
        if "loss" in row:  # every process draws its own
            draws = [draw("step", 0, row["step"] - 1, rank) for rank in range(2)]
            assert row.pop("draw") == pytest.approx(sum(draws) / 2)
        row = {n: v for n, v in row.items() if n not in ("seconds", "validation_draw")}
        assert row == pytest.approx({n: expected[n] for n in row}, rel=1e-5)


def draw(*parts: int | str) -> float:
    return torch.rand((), generator=torch.Generator().manual_seed(derive(*parts))).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    together(Path(sys.argv[1]))
