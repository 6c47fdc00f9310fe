"""A model learns, and the folder says how: best weights, log, curve, averages, rates, modes."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import learnmm as lmm
from fitting import (
    BATCH,
    Data,
    Line,
    Net,
    log,
    mean_of_output,
    numbers,
    same,
    settings,
    squares,
    train,
    train_line,
)
from learnmm import storage
from learnmm.training.launch import fast_precision


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
    assert notes["settings"]["adam"]["lr"] == 1e-2
    assert log(tmp_path) == list(result.history)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    names = {"best.safetensors", "last.safetensors", "log.jsonl", "curve.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_log_has_a_row_per_step_and_per_validation(
    unbroken: tuple[lmm.training.FitResult, nn.Module],
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
        lmm.proposers.Constant(initial=0.6),
        steps=3,
        start=lambda y: torch.zeros(len(y), 4),
        majorant=lmm.majorants.LipschitzMajorant(2 * torch.linalg.matrix_norm(A, 2).item() ** 2),
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


def test_the_average_leaves_training_alone(
    unbroken: tuple[lmm.training.FitResult, nn.Module],
) -> None:
    losses = [row["loss"] for row in unbroken[0].history if "loss" in row]
    plain, _ = train(ema=None)
    assert [row["loss"] for row in plain.history if "loss" in row] == losses


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


def test_it_runs_beside_the_main_thread(unbroken: tuple[lmm.training.FitResult, nn.Module]) -> None:
    results: list[lmm.training.FitResult] = []
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


def test_the_precision_that_is_fast_is_chosen_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes: set[torch.dtype] = set()
    for chosen, dtype in (("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)):
        monkeypatch.setattr("learnmm.training.launch.fast_precision", lambda said=chosen: said)
        model = Net()
        model.last.register_forward_hook(lambda module, args, out: dtypes.add(out.dtype))
        result, _ = train(model=model, steps=3, precision="auto")
        assert (result.precision, dtypes) == (chosen, {dtype})
        dtypes.clear()
    given = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    result, _ = train(model=Net(), steps=3, precision="auto", fabric=given)
    assert result.precision == "bf16-mixed"


def test_bfloat16_is_not_chosen_where_it_is_slow() -> None:
    if torch.cuda.is_available():
        pytest.skip("what trains is no processor")
    convolve, x = nn.Conv1d(256, 64, 3), torch.randn(4, 256, 64)

    def seconds(mixed: bool) -> float:
        """Of processor time, at best."""
        times = []
        for _ in range(5):
            began = time.process_time()
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                convolve(x)
            times.append(time.process_time() - began)
        return min(times)

    if seconds(mixed=True) > 5 * seconds(mixed=False):  # 20 where every number is converted
        assert fast_precision() == "32-true"


def test_double_models_stay_double() -> None:
    data = torch.ones(4, dtype=torch.float64)
    line = Line().double()
    result, _ = train(
        loss=mean_of_output, model=line, data=data, forward=None, validation=data, batch_size=2
    )
    assert line.weight.dtype == torch.float64
    assert result.steps == 26


def test_a_fabric_of_ones_own(unbroken: tuple[lmm.training.FitResult, nn.Module]) -> None:
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
