"""The command ``learnmm-esi evaluate``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnmm_esi.cli.command import OptionGroup
from learnmm_esi.cli.options import MOST_SAMPLES, MOST_STEPS, Data, Ico
from learnmm_esi.cli.terminal import counting, out, say
from learnmm_esi.cli.text import printable
from learnmm_esi.cli.threads import Threads, use_threads

if TYPE_CHECKING:
    from learnmm_esi.head.model import HeadModel
    from learnmm_esi.networks.configuration import Configuration
    from learnmm_esi.networks.solver import SourceSolver
    from learnmm_esi.training.evaluate import Evaluation

__all__ = ["evaluate"]

_COLUMNS = (
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


@dataclass(frozen=True)
class TestOptions(OptionGroup):
    """What is tested on, and when one looks."""

    data: Annotated[Data, typer.Option(help="Test data.")] = Data.erp
    samples: Annotated[int, typer.Option(min=2, max=MOST_SAMPLES, help="How many.")] = 2000
    steps: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            max=MOST_STEPS,
            help="Look after so many steps too; may be repeated. 0 is the start.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of the test set.")] = 2

    def run(self, solver: SourceSolver, trained_on: str) -> Evaluation:
        """Evaluate a solver, and show how far that is."""
        from learnmm_esi.simulation.data_sets import simulator
        from learnmm_esi.training.evaluate import evaluate

        # Recordings as those of the training, where the simulator has a choice.
        alike = asdict(solver.recordings) if trained_on == self.data.value == "erp" else {}
        test = simulator(solver.head, self.data.value, self.seed, self.samples, **alike)
        horizons = sorted({*(self.steps or []), solver.method.steps})
        with counting() as progress:
            task = progress.add_task("evaluating", total=self.samples)
            return evaluate(
                solver,
                test,
                self.samples,
                horizons=horizons,
                advance=lambda n: progress.advance(task, n),
            )


@dataclass(frozen=True)
class HeadOptions(OptionGroup):
    """On which head model."""

    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="name-fwd.fif or .npz that the weights were trained on."),
    ] = None
    ico: Annotated[
        Ico | None,
        typer.Option(
            "--ico",
            help="Test on another resolution of the boundary elements than that of the training.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.forward is not None and self.ico is not None:
            raise ValueError("--forward and --ico name different head models: give one of them")

    def model(self, trained: Configuration) -> HeadModel | None:
        """Return the model that was asked for instead of the one of the weights, if any."""
        from learnmm_esi.head.from_file import read_head_model
        from learnmm_esi.head.fsaverage import fsaverage_head_model

        if self.forward is not None:
            return read_head_model(self.forward)
        if self.ico is None:
            return None
        if trained.head is None:
            raise ValueError(
                f"--ico is for weights trained on fsaverage; those of {trained.path} were trained "
                "on a head model of somebody's own: give it with --forward"
            )
        return fsaverage_head_model(replace(trained.head, ico=int(self.ico.value)), progress=True)


def evaluate(
    weights: Annotated[
        str,
        typer.Argument(
            help="mm-net, which comes with the library, or weights.safetensors of train."
        ),
    ],
    test: TestOptions,
    head: HeadOptions,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "out/evaluations"
    ),
    threads: Threads = None,
) -> None:
    """Evaluate weights on a test set: the metrics of Table I and what was certified.

    LE is the paper's localisation error, whose peak is searched within seven
    neighbours of the true place; LE global searches everywhere. Of several
    patches a sample, as nmm-two has, all metrics are means over the seeds.
    """
    import torch

    from learnmm.storage import replacing
    from learnmm_esi.cli.outputs import make_writable
    from learnmm_esi.networks.files import describe, load_solver
    from learnmm_esi.recordings.learned import find_weights
    from learnmm_esi.training.allocation import keep_freed_memory

    make_writable(folder)
    use_threads(threads)
    keep_freed_memory()
    file = find_weights(weights)
    config, notes = describe(file)
    solver = load_solver(file, head.model(config), transfer=head.ico is not None)
    solver.to("cuda" if torch.cuda.is_available() else "cpu")
    found = test.run(solver, config.data)
    method, data = solver.method, test.data.value
    name = f"{method.name}-{method.start}-{config.data}-on-{data}"
    content = {
        "method": method.name,
        "verified": method.verified,
        "trained_on": config.data,
        "tested_on": data,
        "seed": test.seed,
        **_facts(solver),
        "training": notes,
        "command": _command(file, test, head, found),
        **found.summary(),
    }
    with replacing(folder / f"{name}.json") as path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    title = f"{method.name}, trained on {config.data}, tested on {data}"
    _show(title, content["steps"], content.get("accepted"))
    say(f"Written: {folder / name}.json")


def _facts(solver: SourceSolver) -> dict[str, Any]:
    """Return what is to be known of a solver beside its results, and what it ran on."""
    from learnmm.hardware import hardware

    return {
        "start": solver.method.start,
        "horizon": solver.method.steps,
        "parameters": solver.parameter_counts(),
        "weight": float(solver.energy.log_weight.detach().exp()),
        "hardware": hardware(),
    }


def _command(file: Path, test: TestOptions, head: HeadOptions, found: Evaluation) -> str:
    """Return the command that gives the same results."""
    return (
        f"learnmm-esi evaluate {printable(file.name)} --data {test.data.value} "
        f"--samples {test.samples} --seed {test.seed}"
        + "".join(f" --steps {steps}" for steps in found.after)
        + ("" if head.ico is None else f" --ico {head.ico.value}")
        + ("" if head.forward is None else f" --forward {printable(head.forward.name)}")
    )


def _show(title: str, rows: dict[str, dict[str, float]], accepted: float | None) -> None:
    """Print a row for each number of steps, and what else is to be known."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for steps, row in rows.items():
        table.add_row(steps, *_cells(row))
    out.print(table)
    if accepted is not None:
        say(f"Learned starts that would be taken: {100 * accepted:.1f} %. Here all are.")
    of_patch = [
        f"{100 * row['auc_of_patch']:.2f} after {steps} steps"
        for steps, row in rows.items()
        if "auc_of_patch" in row
    ]
    if of_patch:
        say(f"AUC of each patch alone: {', '.join(of_patch)}")


def _cells(row: dict[str, float]) -> list[str]:
    """Format one row in the order and units of the columns, the steps left out."""
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
