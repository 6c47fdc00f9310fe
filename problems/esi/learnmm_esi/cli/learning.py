"""The commands ``learnmm-esi train`` and ``evaluate``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnmm_esi.cli.options import MOST_SAMPLES, MOST_STEPS, Data, Ico
from learnmm_esi.cli.terminal import counting, out, plain_errors, say
from learnmm_esi.cli.text import printable
from learnmm_esi.networks.registry import method_class, methods

if TYPE_CHECKING:
    from learnmm_esi.head.model import HeadModel
    from learnmm_esi.training.presets import Preset

_METHODS = "\n\n".join(f"{name}: {what}." for name, what in methods().items())
_PAPER = (
    "MM-Net as the paper has it, and what lies between it and this one, are in examples/esi/"
    "ablation.py of the repository"
)
COLUMNS = (
    "steps",
    "LE\n\nmm",
    "LE\nglobal\nmm",
    "AUC\n\n× 100",
    "nMSE",
    "PSNR\n\ndB",
    "TE\n\nms",
    "mono-\ntone\n%",
    "re-\nfused\n%",
)


def train(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help=f"{_METHODS}\n\n{_PAPER}.")],
    data: Annotated[Data, typer.Option(help="Simulated data to train on.")] = Data.erp,
    preset: Annotated[
        str,
        typer.Option(
            help="smoke (minutes; shows that all runs), quick (about 20 minutes on two cores), cpu "
            "(about half an hour on one), paper (the paper's schedule, for a GPU), or a TOML file "
            "of your own."
        ),
    ] = "cpu",
    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="Your own name-fwd.fif or name.npz. Default: fsaverage."),
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
        from learnmm.hardware import hardware
        from learnmm.storage import peek_weights
        from learnmm_esi.cli.outputs import make_writable

        method_class(method)  # whether there is one
        target = folder or Path("out") / "training" / f"{data.value}-{method}"
        make_writable(target)
        from learnmm_esi.networks.files import save_solver
        from learnmm_esi.training.allocation import keep_freed_memory
        from learnmm_esi.training.presets import load_preset
        from learnmm_esi.training.pretrain import require_learned_start
        from learnmm_esi.training.train import train as run

        settings = load_preset(preset, method)
        if start is not None:
            require_learned_start(settings.method, start)
            peek_weights(start)  # whether it holds any, before the head is built
        _limit(threads)
        keep_freed_memory()
        model = _head(settings, forward)
        solver, result, known = run(model, data.value, settings, target, start=start, resume=resume)
        notes = {
            "method": method,
            "data": data.value,
            "preset": Path(preset).name,
            "steps": result.steps,
            "batch_size": settings.fit.batch_size,
            "fit": asdict(settings.fit),
            "best_step": result.best_step,
            "validation_loss": result.best_loss,
            "minutes": round(result.seconds / 60, 1),
            "hardware": hardware(),
            "start": known,
        }
        path = target / "weights.safetensors"
        save_solver(path, solver, {"data": data.value, **settings.as_dict()}, notes)
        counts = solver.parameter_counts()
        say(
            f"{method} on {data.value}: {result.steps} steps in {result.seconds / 60:.1f} min, "
            f"best validation loss {result.best_loss:.4f} at step {result.best_step}; "
            f"{counts['all'] / 1e6:.2f} M weights"
        )
        say(f"Weights: {path}")


def evaluate(
    context: typer.Context,
    weights: Annotated[
        str,
        typer.Argument(
            help="mm-net-erp, which comes with the library, or weights.safetensors of train."
        ),
    ],
    data: Annotated[Data, typer.Option(help="Test data.")] = Data.erp,
    samples: Annotated[int, typer.Option(min=2, max=MOST_SAMPLES, help="How many.")] = 2000,
    steps: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            max=MOST_STEPS,
            help="Look after so many steps too; may be repeated. 0 is the start.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the test set.")] = 2,
    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="name-fwd.fif or .npz that the weights were trained on."),
    ] = None,
    ico: Annotated[
        Ico | None,
        typer.Option(
            "--ico",
            help="Test on another resolution of the boundary elements than that of the training.",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "out/evaluations"
    ),
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the processor. Default: all cores.")
    ] = None,
) -> None:
    """Evaluate weights on a test set: the metrics of Table I and what was certified.

    LE is the paper's localisation error, whose peak is searched within seven
    neighbours of the true place; LE global searches everywhere.
    """
    with plain_errors(context):
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        from learnmm.hardware import hardware
        from learnmm.storage import replacing
        from learnmm_esi.cli.outputs import make_writable
        from learnmm_esi.networks.files import describe, load_solver
        from learnmm_esi.recordings.learned import find_weights
        from learnmm_esi.simulation.data_sets import simulator
        from learnmm_esi.training.allocation import keep_freed_memory
        from learnmm_esi.training.evaluate import evaluate as run

        make_writable(folder)
        _limit(threads)
        keep_freed_memory()
        file = find_weights(weights)
        known = describe(file)
        model = _other_head(file, known["config"], forward, ico)
        solver = load_solver(file, model, transfer=ico is not None)
        trained_on = known["config"]["data"]
        method = solver.method
        horizons = sorted({*(steps or []), method.steps})
        # Recordings as those of the training, where the simulator has a choice.
        made = asdict(solver.recordings) if trained_on == data.value == "erp" else {}
        test = simulator(solver.head, data.value, seed, samples, **made)
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
        content = {
            "method": method.name,
            "verified": method.verified,
            "trained_on": trained_on,
            "tested_on": data.value,
            "seed": seed,
            "start": method.start,
            "horizon": method.steps,
            "parameters": solver.parameter_counts(),
            "weight": float(solver.energy.weight.detach()),
            "training": known["notes"],
            "command": f"learnmm-esi evaluate {printable(file.name)} --data {data.value} "
            f"--samples {samples} --seed {seed}"
            + "".join(f" --steps {k}" for k in horizons)
            + ("" if ico is None else f" --ico {ico.value}"),
            "hardware": hardware(),
            **summary,
        }
        name = f"{method.name}-{method.start}-{trained_on}-on-{data.value}"
        with replacing(folder / f"{name}.json") as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        table = Table(
            title=f"{method.name}, trained on {trained_on}, tested on {data.value}",
            box=SIMPLE_HEAD,
        )
        for column in COLUMNS:
            table.add_column(column, justify="right", no_wrap=True)
        for count, row in summary["steps"].items():
            table.add_row(count, *cells(row))
        out.print(table)
        say(f"Written: {folder / name}.json")


def cells(row: dict[str, Any]) -> list[str]:
    """Format one row of an evaluation in the order and units of `COLUMNS`, the steps left out."""
    return [
        f"{row['localization_error']:.2f}",
        f"{row['localization_error_global']:.2f}",
        f"{100 * row['auc']:.2f}",
        f"{row['nmse']:.4f}",
        f"{row['psnr']:.2f}",
        f"{row['time_error']:.2f}",
        f"{100 * row['monotone']:.1f}",
        f"{100 * row['rejected']:.1f}",
    ]


def _limit(threads: int | None) -> None:
    if threads is None:
        return
    import torch

    cores = os.cpu_count() or 1
    if threads > cores:
        raise ValueError(
            f"--threads must be at most the {cores} cores of this machine, got {threads}"
        )
    torch.set_num_threads(threads)


def _head(settings: Preset, forward: Path | None) -> HeadModel:
    from learnmm_esi.head.from_file import read_head_model
    from learnmm_esi.head.fsaverage import fsaverage_head_model

    if forward is not None:
        return read_head_model(forward)
    return fsaverage_head_model(settings.head, progress=True)


def _other_head(
    file: Path, config: dict[str, Any], forward: Path | None, ico: Ico | None
) -> HeadModel | None:
    """The head model that was asked for instead of the one of the weights, if any."""
    if forward is not None and ico is not None:
        raise ValueError("--forward and --ico name different head models: give one of them")
    if forward is not None:
        from learnmm_esi.head.from_file import read_head_model

        return read_head_model(forward)
    if ico is None:
        return None
    from learnmm_esi.head.fsaverage import fsaverage_head_model
    from learnmm_esi.head.settings import HeadModelSettings
    from learnmm_esi.networks.settings import settings_of

    if config.get("head") is None:
        raise ValueError(
            f"--ico is for weights trained on fsaverage; those of {file} were trained on a head "
            "model of somebody's own: give it with --forward"
        )
    trained = settings_of(HeadModelSettings, config["head"], file, "head")
    return fsaverage_head_model(replace(trained, ico=int(ico.value)), progress=True)
