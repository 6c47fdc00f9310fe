"""The command ``learnmm-esi reconstruct``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from learnmm_esi.cli.command import OptionGroup
from learnmm_esi.cli.options import MOST_STEPS, Ico
from learnmm_esi.cli.terminal import counting, say

if TYPE_CHECKING:
    import mne

    from learnmm_esi.head.model import HeadModel
    from learnmm_esi.head.settings import HeadModelSettings
    from learnmm_esi.recordings.prepared import Recording
    from learnmm_esi.recordings.settings import InverseSettings, SensorSettings

__all__ = ["reconstruct"]


class Missing(StrEnum):
    """What may be done about channels that the head model lacks."""

    RAISE = "raise"
    WARN = "warn"
    IGNORE = "ignore"


@dataclass(frozen=True)
class OutputOptions(OptionGroup):
    """What is written, and where."""

    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for the results. Default: the file's.")
    ] = None
    expand: Annotated[
        bool, typer.Option("--expand", help="Write all fsaverage5 vertices, not one per region.")
    ] = False
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Draw no name.png; epochs have none anyway.")
    ] = False


@dataclass(frozen=True)
class RecordingOptions(OptionGroup):
    """What of a file is reconstructed, and what is done to it first."""

    panel = "Recording"
    condition: Annotated[
        list[str] | None, typer.Option(help="Name or number; may be repeated. Default: all.")
    ] = None
    average: Annotated[
        bool, typer.Option("--average", help="Average epochs first, those of each condition.")
    ] = False
    bads: Annotated[str, typer.Option(help="Bad channels besides the file's, as Fp1,Cz.")] = ""
    average_reference: Annotated[
        bool, typer.Option("--average-reference", help="Set it, if the recording has none.")
    ] = False
    tmin: Annotated[float | None, typer.Option(help="Begin of the time of interest in s.")] = None
    tmax: Annotated[float | None, typer.Option(help="End of it in s.")] = None

    def read(self, file: Path) -> list[Recording]:
        """Read and prepare the recordings of a file."""
        from learnmm_esi.recordings.files import read_recordings

        return read_recordings(
            file,
            self.condition,
            average=self.average,
            bads=[name.strip() for name in self.bads.split(",") if name.strip()],
            average_reference=self.average_reference,
            tmin=self.tmin,
            tmax=self.tmax,
        )


@dataclass(frozen=True)
class ModelOptions(OptionGroup):
    """Whose sources are reconstructed, and how its sensors are those of the recording."""

    panel = "Head model and channels"
    forward: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="Your own name-fwd.fif. Default: fsaverage with the recording's electrodes.",
        ),
    ] = None
    noise_cov: Annotated[
        Path | None,
        typer.Option(exists=True, help="Noise covariance to whiten with, name-cov.fif."),
    ] = None
    on_missing: Annotated[
        Missing, typer.Option(help="What to do about channels whose place is not known.")
    ] = Missing.RAISE
    ico: Annotated[
        Ico | None,
        typer.Option(
            "--ico",
            help="Resolution of the boundary elements. Default: 4, or that of the weights.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.forward is not None and self.ico is not None:
            raise ValueError("--forward and --ico name different head models: give one of them")

    def sensors(self) -> SensorSettings:
        """Return what is done about channels; the noise covariance is read."""
        from learnmm_esi.fif import read_covariance
        from learnmm_esi.recordings.settings import SensorSettings

        covariance = None if self.noise_cov is None else read_covariance(self.noise_cov)
        return SensorSettings(covariance, self.on_missing.value)

    def model(
        self, weights: str | os.PathLike[str] | None, infos: Sequence[mne.Info]
    ) -> HeadModel | HeadModelSettings | Path:
        """Return the model that was asked for; unless one was, that of weights for one cap.

        Without either, it is the template with the electrodes of the recordings.
        """
        if self.forward is not None:
            return self.forward
        from learnmm_esi.head.fsaverage import fsaverage_head_model
        from learnmm_esi.head.settings import HeadModelSettings
        from learnmm_esi.networks.files import describe
        from learnmm_esi.recordings.learned import find_weights
        from learnmm_esi.recordings.template_head import head_model_for

        trained = None if weights is None else describe(find_weights(weights)).config
        settings = HeadModelSettings()
        if self.ico is not None:
            settings = HeadModelSettings(ico=int(self.ico.value))
        elif trained is not None:
            settings = trained.head or settings
        if trained is not None and not trained.recordings.any:
            return fsaverage_head_model(settings, progress=True)
        for info in infos:  # kept in this process; here it may show its progress
            head_model_for(info, settings, on_missing=self.on_missing.value, progress=True)
        return settings


@dataclass(frozen=True)
class SolveOptions(OptionGroup):
    """How sources are reconstructed."""

    panel = "Solving"
    weight: Annotated[
        float | None,
        typer.Option(help="Of smoothness against fit. Default: from the noise of each recording."),
    ] = None
    diffusion: Annotated[
        float | None,
        typer.Option(
            help="Reach of patches, in neighbours squared. Default: several, of which the "
            "recording chooses; of the smoothness with a weight 10."
        ),
    ] = None
    max_iter: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_STEPS,
            help="Limit on steps. Default: 30, 60 with a weight, or what weights were trained for.",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            help="Reconstruct with a trained method: mm-net, which comes with the library, a file "
            "of train, or none. Default: mm-net on fsaverage, guided; none with --forward or "
            "--weight."
        ),
    ] = None
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="Use weights on another head model with the same sources."),
    ] = False
    guided: Annotated[
        bool,
        typer.Option(
            "--guided", help="Take from weights where sources are expected, and nothing else."
        ),
    ] = False

    def settings(self, template: bool) -> InverseSettings:
        """Return these options checked, weights found; those for the template by default."""
        from learnmm_esi.recordings.learned import best_settings, find_weights
        from learnmm_esi.recordings.settings import InverseSettings

        if template and replace(self, guided=False) == SolveOptions(max_iter=self.max_iter):
            return best_settings(None, self.max_iter)
        weights = None if self.weights in (None, "none") else find_weights(self.weights)
        return InverseSettings(
            self.weight, self.diffusion, self.max_iter, weights, self.transfer, self.guided
        )


def reconstruct(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="Evoked responses, epochs or a raw recording: FIF, EDF, BDF, GDF, BrainVision's "
            ".vhdr, EEGLAB's .set, ....",
        ),
    ],
    output: OutputOptions,
    recording: RecordingOptions,
    head: ModelOptions,
    solve: SolveOptions,
) -> None:
    """Reconstruct the sources of a recording: .stc files, and a picture of each.

    One estimate for every evoked response, for every epoch, or for a raw
    recording of a minute or less, whose samples that annotations call bad are
    left out.
    """
    from learnmm_esi.cli.outputs import draw_to_files, make_writable

    draw_to_files()
    from learnmm_esi.cli.estimate_files import count_estimates, reconstruct_to_files
    from learnmm_esi.recordings.apply import MMInverse

    target = file.parent if output.folder is None else output.folder
    make_writable(target)
    # What may be wrong with files comes before the head model, which takes minutes to build.
    recordings = recording.read(file)
    settings, sensors = solve.settings(head.forward is None), head.sensors()
    model = head.model(settings.weights, [one.info for one in recordings])
    inverse = MMInverse(model, settings, sensors=sensors)
    written = reconstruct_to_files(
        inverse,
        recordings,
        target,
        _stem(file),
        expand=output.expand,
        picture=not output.no_picture,
    )
    with counting() as progress, _advice():
        task = progress.add_task("reconstructing", total=count_estimates(recordings))
        for name, fit, paths in written:
            progress.advance(task)
            say(f"{name or file.name}: {fit}")
            for path in paths:
                say(f"  {path}")


@contextlib.contextmanager
def _advice() -> Iterator[None]:
    """Name the option where the library names a method of MNE-Python."""
    from learnmm_esi.recordings.preparation import MissingReferenceError

    try:
        yield
    except MissingReferenceError as error:
        raise ValueError(f"{error}; here, with --average-reference") from error


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    name = name.removesuffix(Path(name).suffix)
    for kind in ("ave", "epo", "raw", "eeg"):
        name = name.removesuffix(f"-{kind}").removesuffix(f"_{kind}")
    return name or file.name
