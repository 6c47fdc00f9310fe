"""The command ``learnmm-esi train``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnmm_esi.cli.command import OptionGroup
from learnmm_esi.cli.terminal import say
from learnmm_esi.cli.threads import Threads, use_threads
from learnmm_esi.networks.registry import methods

if TYPE_CHECKING:
    from learnmm_esi.head.model import HeadModel
    from learnmm_esi.training.presets import Preset
    from learnmm_esi.training.train import Trained

__all__ = ["train"]

_METHODS = "\n\n".join(f"{name}: {what}." for name, what in methods().items())
_PAPER = (
    "MM-Net as the paper has it, and what lies between it and this one, are in examples/esi/"
    "ablation.py of the repository"
)


@dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """What is trained on, and how."""

    data: Annotated[
        str,
        typer.Option(
            help="Simulated data to train on: erp, nmm, nmm-two, ranges (any cap and head, with "
            "--preset ranges), or a TOML file as theirs."
        ),
    ] = "erp"
    preset: Annotated[
        str,
        typer.Option(
            help="smoke (minutes; shows that all runs), quick (about 20 minutes on two cores), cpu "
            "(about half an hour on one), ranges (two hours on two cores, with --data ranges), "
            "paper (the paper's schedule, for a GPU), or a TOML file of your own."
        ),
    ] = "cpu"
    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="Your own name-fwd.fif or name.npz. Default: fsaverage."),
    ] = None
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="start/best.safetensors of another training, instead of training the start anew.",
        ),
    ] = None

    def load(self, method: str) -> Preset:
        """Return the preset for a method; what is wrong with it or the start is said."""
        from learnmm.storage import peek_weights
        from learnmm_esi.simulation.data_sets import load_protocol
        from learnmm_esi.training.presets import load_preset
        from learnmm_esi.training.pretrain import require_learned_start

        load_protocol(self.data)  # whether there is one
        preset = load_preset(self.preset, method)
        if self.start is not None:
            require_learned_start(preset.method, self.start)
            peek_weights(self.start)  # whether it holds any
        return preset

    def model(self, preset: Preset) -> HeadModel:
        """Return the head model to train on."""
        from learnmm_esi.head.from_file import read_head_model
        from learnmm_esi.head.fsaverage import fsaverage_head_model

        if self.forward is not None:
            return read_head_model(self.forward)
        return fsaverage_head_model(preset.head, progress=True)

    def notes(self, preset: Preset, trained: Trained) -> dict[str, Any]:
        """Return what the weights say of how they came about."""
        from learnmm.hardware import hardware

        result = trained.result
        return {
            "method": preset.method.name,
            "data": Path(self.data).stem,
            "preset": Path(self.preset).name,
            "steps": result.steps,
            "batch_size": preset.fit.batch_size,
            "fit": asdict(preset.fit) | {"precision": result.precision},  # the one that was taken
            "best_step": result.best_step,
            "validation_loss": result.best_loss,
            "minutes": round(result.seconds / 60, 1),
            "hardware": hardware(),
            "start": trained.start,
        }


def train(
    method: Annotated[str, typer.Argument(help=f"{_METHODS}\n\n{_PAPER}.")],
    options: TrainingOptions,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder. Default: out/training/DATA-METHOD.")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on where a run in the folder was stopped.")
    ] = True,
    threads: Threads = None,
) -> None:
    """Train a method on simulated recordings; may be stopped and resumed at any time.

    Writes weights.safetensors, which evaluate and reconstruct read, log.jsonl and curve.png.
    """
    from learnmm_esi.cli.outputs import make_writable
    from learnmm_esi.networks.files import save_solver
    from learnmm_esi.training.allocation import keep_freed_memory
    from learnmm_esi.training.train import train as run

    data = Path(options.data).stem
    # What may be wrong with files comes before the head model, which takes minutes to build.
    preset = options.load(method)
    target = folder or Path("out") / "training" / f"{data}-{method}"
    make_writable(target)
    use_threads(threads)
    keep_freed_memory()
    model = options.model(preset)
    trained = run(model, options.data, preset, target, start=options.start, resume=resume)
    path = target / "weights.safetensors"
    saved = {"data": data, **preset.as_dict()}
    save_solver(path, trained.solver, saved, options.notes(preset, trained))
    result, counts = trained.result, trained.solver.parameter_counts()
    say(
        f"{method} on {data}: {result.steps} steps in {result.seconds / 60:.1f} min, "
        f"best validation loss {result.best_loss:.4f} at step {result.best_step}; "
        f"{counts['all'] / 1e6:.2f} M weights"
    )
    say(f"Weights: {path}")
