"""What a step does depends on weights, moments, settings and its number alone."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import IterableDataset

import learnmm as lmm
from learnmm import storage
from learnmm.training.checkpoint import CHECKPOINT
from learnmm.training.sampling import Batches, derive, shares

SAMPLES, BATCH = 70, 16  # four batches per epoch, six samples left over


class Data:
    """Inputs and targets; the inputs carry noise that depends on index and epoch."""

    def __init__(self, samples: int = SAMPLES, noise: float = 0.1) -> None:
        generator = torch.Generator().manual_seed(3)
        mixing = torch.randn(5, 3, generator=generator)
        self.x = torch.randn(samples, 5, generator=generator)
        self.y = torch.tanh(self.x @ mixing)
        self.noise, self.epochs = noise, [0]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index] + self.noise * math.sin(index + 10 * self.epochs[-1]), self.y[index]

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


class Net(nn.Module):
    """Everything that has a state of its own: batch statistics, dropout, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(8, 3)

    def forward(self, batch: tuple[Tensor, Tensor], scale: float = 1.0) -> Tensor:
        hidden = self.drop(self.norm(torch.tanh(self.first(batch[0]))))
        return scale * self.last(hidden)


class Line(nn.Module):
    """One parameter, whose trajectory is easy to follow."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.seen: list[float] = []

    def forward(self, batch: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.seen.append(self.weight.item())
        return self.weight * batch


def squares(output: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    error = output - batch[1]
    return error.square().mean(), {"absolute": error.abs().mean()}


def mean_of_output(output: Tensor, batch: Tensor) -> Tensor:
    return output.mean()


def settings(**changes: Any) -> lmm.FitSettings:
    chosen = {"steps": 26, "batch_size": BATCH, "lr": 1e-2, "ema": 0.9, "validate_every": 9}
    return lmm.FitSettings(**{**chosen, "warmup": 3, "checkpoint_minutes": 0.0, **changes})


def train(
    folder: Path | None = None,
    loss: Any = squares,
    model: nn.Module | None = None,
    data: Any = None,
    **changes: Any,
) -> tuple[lmm.FitResult, nn.Module]:
    """Train `Net`; `changes` are of `fit` where it has them, else of its settings."""
    ours = {"validation": Data(21), "config": {"a": (1, 2)}, "resume": True, "fabric": None}
    ours |= {"forward": lambda step: {"scale": 1 + 0.1 * (step % 3)}, "progress": False}
    ours |= {name: changes.pop(name) for name in list(changes) if name in ours}
    model = model or Net()
    data = data if data is not None else Data()
    result = lmm.fit(model, data, loss, settings(**changes), folder=folder, **ours)  # type: ignore[arg-type]
    return result, model


def train_line(loss: Any = mean_of_output, **changes: Any) -> tuple[lmm.FitResult, Line]:
    plain = {"batch_size": 1, "ema": None, "forward": None, "validation": None, "warmup": 0}
    line = changes.pop("model", None) or Line()
    result, _ = train(loss=loss, model=line, data=torch.ones(4), **{**plain, **changes})
    return result, line


def numbers(result: lmm.FitResult) -> Any:
    """All of a result that must not depend on time and place."""
    rows = [{n: v for n, v in row.items() if n != "seconds"} for row in result.history]
    return rows, result.best_loss, result.best_step, result.steps, result.skipped


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken() -> tuple[lmm.FitResult, nn.Module]:
    with torch.random.fork_rng():
        return train()


# --- it learns, and says how -----------------------------------------------------------------


def test_a_model_learns_and_carries_its_best_weights(tmp_path: Path) -> None:
    result, model = train(tmp_path, steps=200, validate_every=25)
    first = result.history[0]["loss"]
    assert result.best_loss < 0.25 * first
    model.eval()
    data = Data(21)
    data.set_epoch(0)
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=21)))  # type: ignore[arg-type]
    loss, scalars = squares(model(batch), batch)
    assert loss.item() == pytest.approx(result.best_loss, rel=1e-5)
    best = next(r for r in result.history if r.get("validation_loss") == result.best_loss)
    assert best["step"] == result.best_step
    assert scalars["absolute"].item() == pytest.approx(best["validation_absolute"], rel=1e-5)
    assert result.best_loss == min(r.get("validation_loss", math.inf) for r in result.history)


def test_the_folder_holds_weights_log_and_curve(tmp_path: Path) -> None:
    result, model = train(tmp_path)
    assert result.path == tmp_path / "best.safetensors"
    other = Net()
    _, config = lmm.load_weights(result.path, other, expect={"a": [1, 2]})
    assert config == {"a": [1, 2]}
    assert same(model, other)
    notes = storage.load_notes(result.path)
    assert notes["loss"] == result.best_loss
    assert notes["step"] == result.best_step
    assert notes["seconds"] == result.seconds
    assert notes["settings"]["lr"] == 1e-2
    assert log(tmp_path) == list(result.history)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    names = {"best.safetensors", "last.safetensors", "log.jsonl", "curve.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_log_has_a_row_per_step_and_per_validation(
    unbroken: tuple[lmm.FitResult, nn.Module],
) -> None:
    rows = unbroken[0].history
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 27))
    assert steps[0].keys() == {"step", "loss", "lr", "gradient_norm", "absolute", "seconds"}
    assert [row["lr"] for row in steps] == [settings().rate(k) for k in range(26)]
    checks = [row for row in rows if "validation_loss" in row]
    assert [row["step"] for row in checks] == [9, 18, 26]
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(rows))


def test_nothing_is_written_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train()[0].path is None
    assert list(tmp_path.iterdir()) == []


def test_without_validation_the_mean_training_loss_decides() -> None:
    result, _ = train(validation=None, ema=None)
    losses = [row["loss"] for row in result.history if "loss" in row]
    means = [row["training_loss"] for row in result.history if "training_loss" in row]
    windows = [losses[k : k + 9] for k in range(0, 26, 9)]
    assert means == pytest.approx([sum(window) / len(window) for window in windows])
    assert result.best_loss == min(means)


def test_an_unrolled_solver_learns() -> None:
    A = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    solver = lmm.UnrolledMM(
        lambda y: lambda x: (x @ A.T - y).square().sum(1),
        lmm.Constant(initial=0.6),
        steps=3,
        start=lambda y: torch.zeros(len(y), 4),
        majorant=lmm.LipschitzMajorant(2 * torch.linalg.matrix_norm(A, 2).item() ** 2),
    )
    y = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    result, _ = train(
        loss=lambda solved, y: solved.values[-1].mean(),
        model=solver,
        data=y,
        validation=y,
        forward=lambda step: {"steps": 2 + step % 2},
        ema=None,
        lr=0.05,
    )
    checks = [row["validation_loss"] for row in result.history if "validation_loss" in row]
    assert checks[-1] < checks[0]


# --- a broken run ends as an unbroken one ----------------------------------------------------


class Broken(Exception):
    """Stands in for a crash: nothing of the run gets to act on it."""


def breaking(at: int, action: Callable[[], None]) -> Any:
    """Return the loss, with an action at training step `at`, counted from 1 in this process."""
    calls = 0

    def loss(output: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == at and torch.is_grad_enabled():
            action()
        return squares(output, batch)

    return loss


def crash() -> None:
    raise Broken


@pytest.mark.parametrize("minutes", [0.0, 1e9])
@pytest.mark.parametrize("steps", [(1, 1, 2), (10, 2, 7), (14, 9)])
def test_crashes_change_nothing(
    tmp_path: Path,
    unbroken: tuple[lmm.FitResult, nn.Module],
    steps: tuple[int, ...],
    minutes: float,
) -> None:
    for at in steps:
        with pytest.raises(Broken):
            train(tmp_path, breaking(at, crash), checkpoint_minutes=minutes)
    result, model = train(tmp_path, checkpoint_minutes=minutes)
    assert numbers(result) == numbers(unbroken[0])
    assert log(tmp_path) == list(result.history)
    assert same(model, unbroken[1])
    assert same(model, filled(tmp_path))


def filled(folder: Path) -> nn.Module:
    model = Net()
    lmm.load_weights(folder / "best.safetensors", model)
    return model


def test_a_killed_process_changes_nothing(
    tmp_path: Path, unbroken: tuple[lmm.FitResult, nn.Module]
) -> None:
    killed = subprocess.run([sys.executable, __file__, "kill", str(tmp_path)], env=environment())
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
    tmp_path: Path, unbroken: tuple[lmm.FitResult, nn.Module]
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
    unbroken: tuple[lmm.FitResult, nn.Module],
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


def header(folder: Path) -> dict[str, Any]:
    return storage.read_tensors(folder / "last.safetensors", CHECKPOINT, ())[1]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    result, model = train(tmp_path)
    again, other = train(tmp_path, breaking(1, crash))
    assert again == dataclasses.replace(result, seconds=again.seconds)
    assert again.seconds == pytest.approx(result.seconds, abs=0.5)
    assert same(model, other)


def test_best_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    _, model = train(tmp_path)
    lmm.save_weights(tmp_path / "best.safetensors", Net(), {})  # of a later step, then a crash
    train(tmp_path)
    assert same(model, filled(tmp_path))


def test_resume_can_be_declined(tmp_path: Path, unbroken: tuple[lmm.FitResult, Any]) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaking(14, crash), seed=1)
    with pytest.raises(Broken):
        train(tmp_path, breaking(1, crash), resume=False)
    assert {p.name for p in tmp_path.glob("*.safetensors")} == set()
    result, _ = train(tmp_path)
    assert numbers(result) == numbers(unbroken[0])
    assert log(tmp_path) == list(result.history)


def test_seconds_add_up_over_resumes(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaking(20, crash), forward=lambda step: time.sleep(0.02) or {})
    before = header(tmp_path)["counters"]["seconds"]
    assert before > 19 * 0.02
    result, _ = train(tmp_path)
    assert result.seconds > before
    assert result.history[-1]["seconds"] > before
    assert header(tmp_path)["counters"]["seconds"] == pytest.approx(result.seconds, abs=0.5)


def test_a_checkpoint_is_due_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("learnmm.training.run.time.perf_counter", lambda: now[0])
    saved: list[int] = []

    def watch(output: Tensor, batch: Any) -> Any:
        if (tmp_path / "last.safetensors").exists():
            saved.append(header(tmp_path)["counters"]["step"])
        now[0] += 60
        return squares(output, batch)

    train(tmp_path, watch, checkpoint_minutes=3, validate_every=26, validation=None, ema=None)
    assert sorted(set(saved)) == [3, 6, 9, 12, 15, 18, 21, 24]


# --- another run's checkpoint ----------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    with torch.random.fork_rng(), pytest.raises(Broken):
        train(folder, breaking(8, crash))
    return folder / "last.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": {"a": [1, 3], "b": 0}},
            r"config\.a is \[1, 2\] in the file, expected \[1, 3\]",
        ),
        ({"config": {"a": [1, 2], "b": 0}}, r"config\.b is not in the file, expected 0"),
        ({"seed": 1}, r"settings\.seed is 0 in the file, expected 1"),
        ({"lr_factors": {"last": 0.5}}, r"settings\.lr_factors\.last is not in the file"),
        ({"ema": None}, r"settings\.ema is 0\.9 in the file, expected None"),
        ({"data": Data(71)}, r"samples\.data is 70 in the file, expected 71"),
        ({"validation": None}, r"samples\.validation is 21 in the file, not expected"),
        ({"model": Line()}, r"first\.weight is not in the module.*weight is missing"),
    ],
)
def test_another_run_is_not_resumed(
    tmp_path: Path, stopped: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "last.safetensors").write_bytes(stopped.read_bytes())
    with pytest.raises(ValueError, match=message):
        train(tmp_path, **changes)
    assert (tmp_path / "last.safetensors").read_bytes() == stopped.read_bytes()


def test_a_run_may_be_made_longer(tmp_path: Path) -> None:
    train(tmp_path)
    result, _ = train(tmp_path, steps=30)
    rows = [row for row in result.history if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert [row["lr"] for row in rows[:26]] == [settings().rate(k) for k in range(26)]
    assert [row["lr"] for row in rows[26:]] == [settings(steps=30).rate(k) for k in range(26, 30)]
    assert storage.load_notes(tmp_path / "best.safetensors")["settings"]["steps"] == 30


@pytest.mark.parametrize("at", [15, 5])
def test_a_run_may_be_made_shorter(tmp_path: Path, at: int) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaking(at, crash))
    result, model = train(tmp_path, breaking(1, crash), steps=4)
    assert (result.steps, result.best_step) == (at - 1, 9 if at == 15 else 4)
    assert math.isfinite(result.best_loss)
    assert same(model, filled(tmp_path))


def test_checkpoint_times_may_change(tmp_path: Path, stopped: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(stopped.read_bytes())
    assert train(tmp_path, checkpoint_minutes=7)[0].steps == 26


@pytest.mark.parametrize("kind", ["empty", "truncated", "pickle", "weights", "foreign"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, stopped: Path, kind: str) -> None:
    path = tmp_path / "last.safetensors"
    weights = io.BytesIO()
    torch.save(Net().state_dict(), weights)
    content = stopped.read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": content[:-1], "pickle": weights.getvalue()}.get(kind, b"")
    )
    message = "no complete safetensors file"
    if kind == "weights":
        lmm.save_weights(path, Net(), {})
        message = "holds 'learnmm weights', version 1; expected 'learnmm checkpoint'"
    if kind == "foreign":
        from safetensors.torch import save_file

        save_file(storage.state_tensors(Net()), path)
        message = "not one of learnmm"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        train(tmp_path)
    assert path.read_bytes() == before


def test_a_checkpoint_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: tuple[lmm.FitResult, nn.Module]
) -> None:
    replace, calls = os.replace, [0]

    def fail(source: Path, target: Path) -> None:
        calls[0] += Path(target).name == "last.safetensors"
        if calls[0] == 10:
            raise OSError("disk full")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            train(tmp_path)
    assert header(tmp_path)["counters"]["step"] == 9
    result, model = train(tmp_path)
    assert numbers(result) == numbers(unbroken[0])
    assert same(model, unbroken[1])


# --- batches ---------------------------------------------------------------------------------


def batches(rank: int = 0, world: int = 1, seed: int = 0, data: Any = None) -> Batches:
    return Batches(data or Data(), BATCH, seed=seed, rank=rank, world_size=world)


def test_an_epoch_is_a_permutation() -> None:
    order = batches().order(0)
    assert sorted(order) == list(range(SAMPLES))
    assert order != sorted(order)
    assert order == batches().order(0)
    assert order != batches().order(1)
    assert order != batches(seed=1).order(0)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_batches_of_one(world: int) -> None:
    whole = batches().indices(3)
    parts = [batches(rank, world).indices(3) for rank in range(world)]
    assert [len(batch) for batch in whole] == [BATCH] * 4
    assert len({i for batch in whole for i in batch}) == 4 * BATCH
    for k, batch in enumerate(whole):
        shares_of_batch = [part[k] for part in parts]
        assert {len(share) for share in shares_of_batch} == {BATCH // world}
        assert sorted(i for share in shares_of_batch for i in share) == sorted(batch)


def take(stream: Iterator[Any], count: int) -> list[Tensor]:
    return [next(stream)[0] for _ in range(count)]


@pytest.mark.parametrize("step", [0, 1, 4, 5, 11])
def test_batches_depend_on_the_step_alone(step: int) -> None:
    whole = take(batches().since(0), 14)
    part = take(batches().since(step), 14 - step)
    assert all(torch.equal(a, b) for a, b in zip(whole[step:], part, strict=True))


def test_data_hear_of_their_epoch() -> None:
    data = Data()
    take(batches(data=data).since(5), 8)
    assert data.epochs == [0, 1, 2, 3]


def test_data_may_collate_themselves() -> None:
    class Listed(Data):
        def collate(self, samples: list[Any]) -> list[Tensor]:
            return [torch.stack([x for x, _ in samples]), torch.tensor(float(len(samples)))]

    assert next(batches(data=Listed()).since(0))[1] == BATCH


@pytest.mark.parametrize(("samples", "world"), [(1, 1), (5, 2), (9, 2), (8, 4), (9, 4)])
def test_validation_counts_every_sample_once(samples: int, world: int) -> None:
    parts = [shares(samples, 4, rank, world) for rank in range(world)]
    assert len({len(indices) for indices, _ in parts}) == 1
    assert all(share for indices, _ in parts for share in indices)
    counted = [i for part in parts for s, n in zip(*part, strict=True) for i in s[:n]]
    assert sorted(counted) == list(range(samples))


# --- several processes -----------------------------------------------------------------------


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


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
    """Interrupt process 1 alone, then go on, in the processes of one launch."""

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
    run += [__file__, "together", str(tmp_path / "two")]
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


# --- averages, groups, rates, clipping -------------------------------------------------------


def test_the_average_is_validated_and_returned() -> None:
    result, line = train_line(steps=5, validate_every=5, ema=0.5, validation=torch.ones(3))
    plain, other = train_line(steps=5, validate_every=5, validation=torch.ones(3))
    assert other.seen == line.seen  # averaging leaves the steps alone
    weights = [*other.seen[1:], other.weight.item()]
    average = other.seen[0]
    for n, weight in enumerate(weights, start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weight
    assert line.weight.item() == pytest.approx(average, rel=1e-6)
    assert result.best_loss == pytest.approx(average, rel=1e-6)
    assert plain.best_loss == pytest.approx(weights[-1], rel=1e-6)


def test_the_average_leaves_training_alone(unbroken: tuple[lmm.FitResult, nn.Module]) -> None:
    losses = [row["loss"] for row in unbroken[0].history if "loss" in row]
    plain, _ = train(ema=None)
    assert [row["loss"] for row in plain.history if "loss" in row] == losses


def moves(model: nn.Module) -> dict[str, float]:
    start = dict(Net().named_parameters())
    return {n: float((p - start[n]).detach().abs().max()) for n, p in model.named_parameters()}


def test_parameter_groups_have_rates_of_their_own() -> None:
    factors = {"first": 0.0, "last": 0.5, "last.bias": 2.0}
    _, model = train(steps=1, warmup=0, lr=1e-3, ema=None, clip=None, lr_factors=factors)
    # Adam's first step is the rate times the sign of the gradient.
    moved = moves(model)
    assert moved["first.weight"] == moved["first.bias"] == 0
    assert moved["norm.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert moved["last.weight"] == pytest.approx(5e-4, rel=1e-2)
    assert moved["last.bias"] == pytest.approx(2e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("factors", "unused"),
    [({"lst": 0.5}, "lst"), ({"first": 2, "first.": 3}, "first"), ({"first.weight.x": 1}, "x")],
)
def test_a_prefix_without_parameters_is_an_error(factors: dict[str, float], unused: str) -> None:
    with pytest.raises(ValueError, match=rf"no trainable parameter takes .*{unused}'\]; names are"):
        train(lr_factors=factors)


def test_frozen_parameters_stay() -> None:
    model = Net()
    model.first.requires_grad_(False)
    train(model=model, steps=3)
    moved = moves(model)
    assert moved["first.weight"] == 0 < moved["last.weight"]


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    chosen = lmm.FitSettings(steps=111, lr=2.0, warmup=10, final_lr=0.1)
    rates = [chosen.rate(step) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * (k + 1) for k in range(10)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert rates[110] == pytest.approx(0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert all(math.isfinite(r) for r in rates)
    assert lmm.FitSettings(steps=1, warmup=0).rate(0) == 1e-3
    assert lmm.FitSettings(steps=20).rate(19) == 1e-3


@pytest.mark.parametrize(("clip", "norm"), [(0.25, 0.25), (1e3, 3.0), (None, 3.0)])
def test_the_gradient_is_clipped(tmp_path: Path, clip: float | None, norm: float) -> None:
    result, _ = train_line(
        lambda output, batch: 3 * output.mean(), steps=1, clip=clip, folder=tmp_path
    )
    assert result.history[0]["gradient_norm"] == pytest.approx(3.0)
    tensors, _ = storage.read_tensors(tmp_path / "last.safetensors", CHECKPOINT, ())
    assert tensors["adam.exp_avg.weight"].item() == pytest.approx(0.1 * norm, rel=1e-5)


def test_gradients_of_before_do_not_count() -> None:
    line = Line()
    line.weight.grad = torch.tensor(1e3)
    result, _ = train_line(model=line, steps=1)
    assert result.history[0]["gradient_norm"] == pytest.approx(1.0)


# --- stopping --------------------------------------------------------------------------------


def scripted(values: list[float], seen: list[float]) -> Any:
    """Validate to the given values; note the weight each time."""
    rest = iter(values)

    def loss(output: Tensor, batch: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return output.mean()
        seen.append(output.item())
        return torch.tensor(next(rest))

    return loss


def stop_early(values: list[float], **changes: Any) -> tuple[lmm.FitResult, Line, list[float]]:
    seen: list[float] = []
    chosen = {"steps": 12, "validate_every": 2, "validation": torch.ones(1), **changes}
    result, line = train_line(scripted(values, seen), **chosen)
    return result, line, seen


def test_patience_ends_and_the_best_weights_are_kept() -> None:
    result, line, seen = stop_early([5.0, 3.0, 4.0, 3.0, 1.0, 0.0], patience=2)
    assert (result.stopped_early, result.steps, result.best_step) == (True, 8, 4)
    assert result.best_loss == 3.0
    assert line.weight.item() == seen[1] != seen[3]


def test_a_better_loss_renews_patience() -> None:
    result, line, seen = stop_early([5.0, 6.0, 4.0, 5.0, 3.0, 9.0], patience=2)
    assert (result.stopped_early, result.steps, result.best_step) == (False, 12, 10)
    assert line.weight.item() == seen[4]


def test_without_patience_all_steps_are_done() -> None:
    result, _, _ = stop_early([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert (result.stopped_early, result.steps, result.best_step) == (False, 12, 2)


def test_an_early_end_is_final(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0]
    first, line, _ = stop_early(values, patience=2, folder=tmp_path)
    again, other, seen = stop_early([], patience=2, folder=tmp_path)
    assert numbers(again) == numbers(first)
    assert again.stopped_early
    assert line.weight.item() == other.weight.item()
    assert seen == []


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    result, _, _ = stop_early([math.nan, 5.0, -math.inf, math.nan, 6.0, 7.0])
    assert (result.best_loss, result.best_step) == (5.0, 4)
    checks = [row["validation_loss"] for row in result.history if "validation_loss" in row]
    assert checks == [None, 5.0, None, None, 6.0, 7.0]


def test_no_finite_loss_at_all_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="no loss was finite in 12 steps"):
        stop_early([math.nan] * 6)


# --- what is not finite ----------------------------------------------------------------------


def spoiling(steps: set[int], by: str) -> Any:
    """Spoil the loss, its gradient, or both in some training steps, counted from 1."""
    calls = 0

    def loss(output: Tensor, batch: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        value = output.mean()
        if calls not in steps:
            return value
        spoilt = {"both": value * math.nan, "loss": value + math.inf}
        return spoilt.get(by, value + (value - value.detach()).sqrt())

    return loss


@pytest.mark.parametrize("by", ["both", "loss", "gradient"])
def test_steps_that_are_not_finite_are_skipped(by: str, tmp_path: Path) -> None:
    result, line = train_line(
        spoiling({2, 3, 6}, by), steps=8, validate_every=8, ema=0.5, folder=tmp_path
    )
    assert (result.skipped, result.steps) == (3, 8)
    weights = line.seen
    assert weights[1] == weights[2] == weights[3]  # steps 2 and 3 changed nothing
    assert weights[5] == weights[6]
    assert len(set(weights)) == 5
    rows = [row for row in result.history if "loss" in row]
    for name, spoilt in (("loss", by != "gradient"), ("gradient_norm", by != "loss")):
        missing = [row["step"] for row in rows if row[name] is None]
        assert missing == ([2, 3, 6] if spoilt else [])
    assert log(tmp_path) == list(result.history)
    tensors, about = storage.read_tensors(tmp_path / "last.safetensors", CHECKPOINT, ())
    assert tensors["adam.step.weight"] == about["counters"]["updates"] == 5
    good = [row["loss"] for row in rows if row["step"] not in {2, 3, 6}]
    assert result.history[-1]["training_loss"] == pytest.approx(sum(good) / 5)


def test_ten_in_a_row_end_the_run_with_the_best_weights(tmp_path: Path) -> None:
    spoilt = spoiling(set(range(5, 14)) | set(range(15, 40)), "both")
    message = r"not finite in 10 steps in a row, up to step 24.*best weights: of step 15"
    with pytest.raises(FloatingPointError, match=message):
        train_line(spoilt, steps=40, validate_every=3, folder=tmp_path, model=(line := Line()))
    other = Line()
    lmm.load_weights(tmp_path / "best.safetensors", other)
    assert line.weight.item() == other.weight.item() == line.seen[15]


def test_ten_from_the_start_leave_no_best_weights() -> None:
    with pytest.raises(FloatingPointError, match=r"up to step 10.*best weights: none so far"):
        train_line(spoiling(set(range(40)), "both"), steps=40)


# --- modes, generators, threads, precision, progress -----------------------------------------


def test_modes_are_the_callers() -> None:
    model = Net()
    model.norm.eval()
    modes: set[tuple[bool, ...]] = set()

    def loss(output: Tensor, batch: Any) -> Any:
        modes.add((torch.is_grad_enabled(), model.norm.training, model.drop.training))
        return squares(output, batch)

    train(model=model, loss=loss)
    assert modes == {(True, False, True), (False, False, False)}
    assert [m.training for m in (model, model.norm, model.drop)] == [True, False, True]


def test_the_global_generator_is_left_alone_and_not_used() -> None:
    model, other = Net(), Net()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    result, _ = train(model=model)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert numbers(train(model=other)[0]) == numbers(result)
    assert numbers(train(seed=1)[0]) != numbers(result)


def test_every_step_draws_anew_and_every_validation_alike() -> None:
    draws: dict[bool, list[float]] = {True: [], False: []}

    def loss(output: Tensor, batch: Any) -> Any:
        draws[torch.is_grad_enabled()].append(torch.rand(()).item())
        return squares(output, batch)

    model = Net()
    train(model=model, loss=loss, validation=Data(BATCH))
    assert len(set(draws[True])) == 26
    assert len(draws[False]) == 3
    assert len(set(draws[False])) == 1


def test_it_runs_beside_the_main_thread(unbroken: tuple[lmm.FitResult, nn.Module]) -> None:
    results: list[lmm.FitResult] = []
    thread = threading.Thread(target=lambda: results.append(train()[0]))
    thread.start()
    thread.join()
    assert numbers(results[0]) == numbers(unbroken[0])


def test_the_model_is_called_once_per_step() -> None:
    model, calls = Net(), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((torch.is_grad_enabled(), kwargs)),
        with_kwargs=True,
    )
    train(model=model, steps=5, validate_every=5, forward=lambda step: {"scale": float(step)})
    assert [kwargs["scale"] for grad, kwargs in calls if grad] == [0, 1, 2, 3, 4]
    assert [kwargs for grad, kwargs in calls if not grad] == [{}, {}]  # 21 samples in batches of 16


def test_mixed_precision_is_of_the_forward_pass_alone() -> None:
    model, dtypes = Net(), set()
    model.last.register_forward_hook(lambda module, args, out: dtypes.add(out.dtype))

    def loss(output: Tensor, batch: Any) -> Any:
        dtypes.add((output.dtype, (batch[1] @ batch[1].T).dtype))
        return squares(output, batch)

    result, _ = train(model=model, loss=loss, precision="bf16-mixed")
    assert dtypes == {torch.bfloat16, (torch.float32, torch.float32)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert math.isfinite(result.best_loss)


def test_double_models_stay_double() -> None:
    data = torch.ones(4, dtype=torch.float64)
    line = Line().double()
    result, _ = train(
        loss=mean_of_output, model=line, data=data, forward=None, validation=data, batch_size=2
    )
    assert line.weight.dtype == torch.float64
    assert result.steps == 26


def test_a_fabric_of_ones_own(unbroken: tuple[lmm.FitResult, nn.Module]) -> None:
    result, _ = train(fabric=Fabric(accelerator="cpu", devices=1))
    assert numbers(result) == numbers(unbroken[0])


def test_progress_is_drawn_on_stderr_or_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    train()
    assert capfd.readouterr() == ("", "")
    train(progress=True, loss=squares)
    out, err = capfd.readouterr()
    assert out == ""
    assert "26/26" in err
    assert "best" in err


def test_progress_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    message = r"progress=True needs rich: pip install 'learnmm\[progress\]'"
    with pytest.raises(ImportError, match=message):
        train(progress=True)


# --- misuse ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, TypeError, r"steps must be an integer, got 2\.5"),
        ({"steps": True}, TypeError, "steps must be an integer, got True"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"lr": 0.0}, ValueError, r"lr must be positive and finite, got 0\.0"),
        ({"lr": math.inf}, ValueError, "lr must be positive and finite, got inf"),
        ({"lr": "1e-3"}, TypeError, "lr must be a number, got '1e-3'"),
        ({"lr_factors": [1]}, TypeError, "lr_factors must be a mapping, got list"),
        ({"lr_factors": {"a": -1}}, ValueError, r"lr_factors\['a'\] must be at least 0.*got -1"),
        ({"warmup": -1}, ValueError, "warmup must be at least 0, got -1"),
        ({"warmup": 27}, ValueError, "warmup must be at most steps=26, got 27"),
        ({"final_lr": 1.1}, ValueError, r"final_lr must be in \[0, 1\], got 1\.1"),
        ({"clip": 0}, ValueError, "clip must be positive, or None, got 0"),
        ({"clip": math.nan}, ValueError, "clip must be positive, or None, got nan"),
        ({"ema": 1.0}, ValueError, r"ema must be in \(0, 1\), or None, got 1\.0"),
        ({"precision": "16-mixed"}, ValueError, r"\('32-true', 'bf16-mixed'\), got '16-mixed'"),
        ({"validate_every": 0}, ValueError, "validate_every must be at least 1, got 0"),
        ({"patience": 0}, ValueError, "patience must be at least 1, got 0"),
        ({"checkpoint_minutes": -1}, ValueError, "checkpoint_minutes must be at least 0, got -1"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_settings_that_cannot_work(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings(**changes)


def test_settings_are_values() -> None:
    assert settings() == dataclasses.replace(settings(), seed=0)
    assert dataclasses.asdict(settings(lr_factors={"a": 2}))["lr_factors"] == {"a": 2}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield 1.0

    def __len__(self) -> int:
        return 100


class Inf(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("radius", torch.tensor(math.inf))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": squares}, TypeError, r"model must be a torch\.nn\.Module, got function"),
        ({"model": nn.Identity()}, ValueError, "Identity has no trainable parameters"),
        ({"model": Inf()}, ValueError, "Inf starts with what is not finite: radius"),
        ({"loss": 1.0}, TypeError, "outer_loss must be callable, got float"),
        ({"data": Stream()}, TypeError, "data must be a map-style dataset.*got Stream"),
        ({"data": 5}, TypeError, "data must be a map-style dataset.*got int"),
        ({"data": Data(0)}, ValueError, "data is empty"),
        ({"data": Data(15)}, ValueError, "data has 15 samples, fewer than batch_size=16"),
        ({"validation": Data(0)}, ValueError, "validation is empty"),
        ({"config": {"a": {1}}}, TypeError, "config must be what JSON can say"),
        ({"fabric": 1}, TypeError, "fabric must be a Fabric, got int"),
        (
            {"fabric": Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")},
            ValueError,
            "the settings say precision '32-true', the fabric 'bf16-mixed'",
        ),
        (
            {"fabric": Fabric(accelerator="cpu", devices=2, strategy="ddp")},
            RuntimeError,
            r"you must call `\.launch\(\)`",
        ),
    ],
)
def test_arguments_that_do_not_fit(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_asked_for() -> None:
    with pytest.raises(TypeError, match="settings must be FitSettings, got dict"):
        lmm.fit(Net(), Data(), squares, {"steps": 3})  # type: ignore[arg-type]


def test_shares_of_a_batch_are_equal() -> None:
    with pytest.raises(
        ValueError, match="batch_size must be a multiple of the 3 processes, got 16"
    ):
        batches(0, 3)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda o, b: 1.0, TypeError, "outer_loss must return a tensor, or .*, got float"),
        (lambda o, b: (o.mean(), 1), TypeError, r"got \(Tensor, int\)"),
        (lambda o, b: (o.mean(), {}, 1), TypeError, r"got \(Tensor, dict, int\)"),
        (lambda o, b: o, ValueError, r"the mean over the batch, got shape \(16, 3\)"),
        (lambda o, b: o.mean() > 0, ValueError, r"got shape \(\) and dtype torch\.bool"),
        (lambda o, b: o.detach().mean(), ValueError, "depends on no trainable parameter"),
        (lambda o, b: (o.mean(), {"lr": 1.0}), ValueError, r"may not name its scalars \['lr'\]"),
    ],
)
def test_losses_that_do_not_fit(loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(loss=loss)


def test_scalars_have_the_same_names_for_every_batch() -> None:
    def loss(output: Tensor, batch: Any) -> Any:
        return output.mean(), {"odd" if len(output) % 2 else "even": 1.0}

    with pytest.raises(ValueError, match=r"same scalars for every batch, got \['even'\] .*'odd'"):
        train(loss=loss)


def main(action: str, folder: Path) -> None:
    """Train in a process of its own; tests start this file as a script."""
    torch.set_num_threads(1)
    if action == "kill":
        train(folder, breaking(15, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    else:
        together(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
