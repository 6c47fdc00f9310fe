"""The commands ``learnmm-esi train`` and ``evaluate``."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..terminal import counting, out, plain_errors
from .settings import METHODS

if TYPE_CHECKING:
    from .presets import Preset

_METHODS = "; ".join(f"{name}: {what}" for name, what in METHODS.items())


def train(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help=f"{_METHODS}.")],
    data: Annotated[str, typer.Option(help="Simulated data to train on: erp or nmm.")] = "erp",
    preset: Annotated[
        str, typer.Option(help="smoke (a minute), cpu, paper (a GPU), or a TOML file of your own.")
    ] = "cpu",
    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="Your own name-fwd.fif. Default: the fsaverage model."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder. Default: out/training/DATA-METHOD.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="start/best.safetensors of another training, instead of training the start anew.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on where a run in the folder was stopped.")
    ] = True,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the processor. Default: all cores.")
    ] = None,
) -> None:
    """Train a method on simulated recordings; may be stopped and resumed at any time.

    Writes weights.safetensors, which evaluate and reconstruct read, log.jsonl and curve.png.
    """
    with plain_errors(context):
        from .files import save_solver
        from .presets import load_preset
        from .train import train as run

        _limit(threads)
        settings = load_preset(preset)
        model = _head(settings, forward)
        target = folder or Path("out") / "training" / f"{data}-{method}"
        solver, result, known = run(
            model, method, data, settings, target, start=start, resume=resume
        )
        notes = {
            "method": method,
            "data": data,
            "preset": Path(preset).name,
            "steps": result.steps,
            "batch_size": settings.fit.batch_size,
            "fit": settings.fit.numbers(),
            "best_step": result.best_step,
            "validation_loss": result.best_loss,
            "minutes": round(result.seconds / 60, 1),
            "hardware": hardware(),
            "start": known,
        }
        path = target / "weights.safetensors"
        save_solver(path, solver, {"data": data, **settings.as_dict()}, notes)
        counts = solver.parameter_counts()
        out.print(
            f"{method} on {data}: {result.steps} steps in {result.seconds / 60:.1f} min, best "
            f"validation loss {result.best_loss:.4f} at step {result.best_step}; "
            f"{counts['all'] / 1e6:.2f} M weights",
            highlight=False,
        )
        out.print(f"Weights: {path}")


def evaluate(
    context: typer.Context,
    weights: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="weights.safetensors of train.")
    ],
    data: Annotated[str, typer.Option(help="Test data: erp or nmm.")] = "erp",
    samples: Annotated[int, typer.Option(min=2, help="How many.")] = 2000,
    steps: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Look after so many steps; may be repeated. 0 is the start."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the test set.")] = 2,
    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="name-fwd.fif that the weights were trained on, if any."),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "out/evaluations"
    ),
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the processor. Default: all cores.")
    ] = None,
) -> None:
    """Evaluate weights on a test set: the metrics of Table I and what was certified."""
    with plain_errors(context):
        from rich.table import Table

        from .evaluate import evaluate as run
        from .files import describe, load_solver
        from .train import RECORDED, simulator

        _limit(threads)
        model = None
        if forward is not None:
            from ..external import read_head_model

            model = read_head_model(forward)
        solver = load_solver(weights, model)
        horizons = sorted({*(steps or []), solver.settings.steps})
        trained = describe(weights)["config"]["data"]
        settings = solver.settings
        # Recordings as those of the training, where the simulator has a choice.
        made = (
            {name: getattr(settings, name) for name in RECORDED} if trained == data == "erp" else {}
        )
        test = simulator(solver.head, data, seed, samples, **made)
        with counting() as progress:
            task = progress.add_task("evaluating", total=samples)
            found = run(
                solver,
                test,
                samples,
                horizons=horizons,
                advance=lambda n: progress.advance(task, n),
            )
        summary = found.summary()
        known = describe(weights)
        trained_on = known["config"]["data"]
        content = {
            "method": solver.settings.method,
            "trained_on": trained_on,
            "tested_on": data,
            "seed": seed,
            "start": solver.settings.start,
            "horizon": solver.settings.steps,
            "parameters": solver.parameter_counts(),
            "weight": float(solver.energy.weight.detach()),
            "training": known["notes"],
            "command": f"learnmm-esi evaluate {weights.name} --data {data} --samples {samples} "
            f"--seed {seed}" + "".join(f" --steps {k}" for k in horizons),
            "hardware": hardware(),
            **summary,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = (
            folder / f"{solver.settings.method}-{solver.settings.start}-{trained_on}-on-{data}.json"
        )
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        table = Table(title=f"{solver.settings.method}, trained on {trained_on}, tested on {data}")
        for column in (
            "steps",
            "LE",
            "LE-global",
            "AUC",
            "nMSE",
            "PSNR",
            "TE",
            "monotone",
            "refused",
        ):
            table.add_column(column, justify="right")
        for count, row in summary["steps"].items():
            table.add_row(count, *cells(row))
        out.print(table)
        out.print(f"Written: {path}")


def cells(row: dict[str, Any]) -> list[str]:
    """Format one row of an evaluation: LE, LE-global, AUC, nMSE, PSNR, TE, monotone, refused."""
    return [
        f"{row['localization_error']:.2f}",
        f"{row['localization_error_global']:.2f}",
        f"{100 * row['auc']:.2f}",
        f"{row['nmse']:.4f}",
        f"{row['psnr']:.2f}",
        f"{row['time_error']:.2f}",
        f"{100 * row['monotone']:.1f} %",
        f"{100 * row['rejected']:.1f} %",
    ]


def hardware() -> str:
    """Name processor, cores in use and GPU."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor()}, {torch.get_num_threads()} of {os.cpu_count()} cores, {gpu}"


def processor() -> str:
    """Name the processor, where the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _limit(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _head(settings: Preset, forward: Path | None) -> Any:
    from ..external import read_head_model
    from ..fsaverage import fsaverage_head_model

    if forward is not None:
        return read_head_model(forward)
    return fsaverage_head_model(settings.head, progress=True)
