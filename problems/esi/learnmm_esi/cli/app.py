"""The command ``learnmm-esi``: head models, simulated recordings, reconstruction of files.

MNE-Python and torch are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from learnmm_esi.cli.learning import evaluate, train
from learnmm_esi.cli.options import MOST_SAMPLES, MOST_STEPS, Data, Ico, IcoOption
from learnmm_esi.cli.terminal import counting, out, plain_errors, say

if TYPE_CHECKING:
    from learnmm_esi.head.model import HeadModel

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help="EEG source imaging with certified steps. Head models are kept in $LEARNMM_CACHE, "
    "or else in your cache directory.",
)

Surface = StrEnum("Surface", ["pial", "white"])
Column = StrEnum("Column", ["sum", "vertex"])
Skull = StrEnum("Skull", ["half", "ratio", "constant", "fsaverage"])
Missing = StrEnum("Missing", {"RAISE": "raise", "WARN": "warn", "IGNORE": "ignore"})


def _version(asked: bool) -> None:
    if asked:
        from learnmm import __version__

        say(f"learnmm {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error arose, to report it.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options of all commands."""
    context.obj = {"traceback": traceback}


@app.command("head-model")
def head_model(
    context: typer.Context,
    ico: IcoOption = Ico.ico4,
    sources: Annotated[int, typer.Option(help="Number of cortical regions.")] = 994,
    surface: Annotated[Surface, typer.Option(help="Where the dipoles lie.")] = Surface.pial,
    column: Annotated[
        Column, typer.Option(help="A source: the sum over its region, or its centre vertex.")
    ] = Column.sum,
    skull: Annotated[
        Skull,
        typer.Option(help="How the outer skull is constructed; fsaverage: FreeSurfer's surfaces."),
    ] = Skull.half,
    subjects_dir: Annotated[
        Path | None,
        typer.Option(help="Where fsaverage was fetched to, for --skull fsaverage. Default: MNE's."),
    ] = None,
    conductivity: Annotated[
        tuple[float, float, float], typer.Option(help="Brain, skull and scalp in S/m.")
    ] = (0.33, 0.004125, 0.33),
    picture: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw it to this file, name.png.")
    ] = None,
    forward: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write it as an MNE forward solution, name-fwd.fif."),
    ] = None,
) -> None:
    """Build the fsaverage head model, or read it from the cache, and report on it."""
    with plain_errors(context):
        from learnmm.storage import replacing
        from learnmm_esi.cli.outputs import make_writable
        from learnmm_esi.head.fsaverage import fsaverage_head_model
        from learnmm_esi.head.model import HeadModelSettings
        from learnmm_esi.head.report import report

        settings = HeadModelSettings(
            sources=sources,
            ico=int(ico.value),
            surface=surface.value,
            column=column.value,
            skull=skull.value,
            conductivity=conductivity,
        )
        for path in filter(None, (forward, picture)):
            make_writable(path.parent)
        if picture is not None:
            _agg(picture)
        model = fsaverage_head_model(settings, subjects_dir=subjects_dir, progress=True)
        say(report(model))
        if forward is not None:
            import mne

            with replacing(forward) as file:
                mne.write_forward_solution(file, model.forward(), overwrite=True, verbose="ERROR")
            say(f"Forward solution: {forward}")
        if picture is not None:
            from learnmm_esi.plots.figures import plot_head_model

            with replacing(picture) as file:
                plot_head_model(model).savefig(file, dpi=150)
            say(f"Picture: {picture}")


@app.command()
def simulate(
    context: typer.Context,
    data: Annotated[
        Data, typer.Argument(help="Event-related potentials, or spikes of neural masses.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    samples: Annotated[
        int, typer.Option(min=1, max=MOST_SAMPLES, help="How many recordings.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Names the data set.")] = 0,
    snr_db: Annotated[
        float | None, typer.Option(help="Sensor SNR in dB. Default: 5 (erp), 5 to 15 (nmm).")
    ] = None,
    ico: IcoOption = Ico.ico4,
) -> None:
    """Simulate recordings and write them with their true sources.

    For each: sample-00000-ave.fif (evoked, in V), sample-00000-truth-lh.stc
    and -rh.stc (source estimate, in A m), all of which MNE-Python reads;
    samples.json lists seed regions and SNR.

    Amplitudes are those of the paper's protocol, which no metric depends on:
    erp has potentials of tens to hundreds of µV within 125 ms, ten times and
    more those of evoked responses that people measure.
    """
    with plain_errors(context):
        from learnmm_esi.cli.outputs import make_writable
        from learnmm_esi.simulation.data_sets import simulator
        from learnmm_esi.simulation.noise import snr_range
        from learnmm_esi.simulation.sample_files import write_samples

        noise = {} if snr_db is None else {"snr_db": snr_range(snr_db)}
        make_writable(folder)
        model = _fsaverage(ico)
        recordings = simulator(model, data.value, seed, samples, **noise)
        with out.status("preparing recordings"):
            recordings.prepare()
        with counting() as progress:
            task = progress.add_task("writing samples", total=samples)
            for _ in write_samples(folder, recordings, model, recordings.sfreq, data.value):
                progress.advance(task)
        say(f"{samples} recordings and their sources: {folder}")


@app.command()
def reconstruct(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="Evoked responses, epochs or a raw recording: FIF, EDF, BDF, GDF, BrainVision's "
            ".vhdr, EEGLAB's .set, ....",
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for the results. Default: the file's.")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="Name or number; may be repeated. Default: all.")
    ] = None,
    average: Annotated[
        bool, typer.Option("--average", help="Average epochs first, those of each condition.")
    ] = False,
    forward: Annotated[
        Path | None,
        typer.Option(exists=True, help="Your own name-fwd.fif. Default: the fsaverage model."),
    ] = None,
    noise_cov: Annotated[
        Path | None,
        typer.Option(exists=True, help="Noise covariance to whiten with, name-cov.fif."),
    ] = None,
    bads: Annotated[str, typer.Option(help="Bad channels besides the file's, as Fp1,Cz.")] = "",
    average_reference: Annotated[
        bool, typer.Option("--average-reference", help="Set it, if the recording has none.")
    ] = False,
    on_missing: Annotated[
        Missing, typer.Option(help="What to do about channels that the head model lacks.")
    ] = Missing.RAISE,
    tmin: Annotated[float | None, typer.Option(help="Begin of the time of interest in s.")] = None,
    tmax: Annotated[float | None, typer.Option(help="End of it in s.")] = None,
    weight: Annotated[float, typer.Option(help="Of smoothness against fit.")] = 1.0,
    diffusion: Annotated[
        float, typer.Option(help="Reach of the smoothness, in neighbours squared.")
    ] = 10.0,
    max_iter: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_STEPS,
            help="Limit on steps. Default: 60, or what weights were trained for.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Reconstruct with a trained method: mm-net-erp, which comes with the library, or "
            "a file of train. Default: no learning."
        ),
    ] = None,
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="Use weights on another head model with the same sources."),
    ] = False,
    ico: Annotated[
        Ico | None,
        typer.Option(
            "--ico",
            help="Resolution of the boundary elements. Default: 4, or that of the weights.",
        ),
    ] = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="Write all fsaverage5 vertices, not one per region.")
    ] = False,
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Draw no name.png; epochs have none anyway.")
    ] = False,
) -> None:
    """Reconstruct the sources of a recording: .stc files, and a picture of each.

    One estimate for every evoked response, for every epoch, or for a raw
    recording of a minute or less, whose samples that annotations call bad are
    left out.
    """
    with plain_errors(context):
        _agg()
        from learnmm_esi.cli.estimate_files import count_estimates, reconstruct_to_files
        from learnmm_esi.cli.outputs import make_writable
        from learnmm_esi.fif import read_covariance
        from learnmm_esi.recordings.apply import MMInverse
        from learnmm_esi.recordings.files import read_recordings
        from learnmm_esi.recordings.learned import find_weights

        target = file.parent if folder is None else folder
        make_writable(target)
        recordings = read_recordings(
            file,
            condition,
            average=average,
            bads=[name.strip() for name in bads.split(",") if name.strip()],
            average_reference=average_reference,
            tmin=tmin,
            tmax=tmax,
        )
        # What may be wrong with files comes before the head model, which takes minutes to build.
        if weights is not None:
            find_weights(weights)
        covariance = None if noise_cov is None else read_covariance(noise_cov)
        inverse = MMInverse(
            _reconstructed(ico, weights) if forward is None else forward,
            weight=weight,
            diffusion=diffusion,
            max_iter=max_iter,
            weights=weights,
            transfer=transfer,
            noise_cov=covariance,
            on_missing=on_missing.value,
        )
        written = reconstruct_to_files(
            inverse, recordings, target, _stem(file), expand=expand, picture=not no_picture
        )
        with counting() as progress, _advice():
            task = progress.add_task("reconstructing", total=count_estimates(recordings))
            for name, fit, paths in written:
                progress.advance(task)
                say(f"{name or file.name}: {fit}")
                for path in paths:
                    say(f"  {path}")


app.command()(train)
app.command()(evaluate)


def _fsaverage(ico: Ico) -> HeadModel:
    from learnmm_esi.head.fsaverage import fsaverage_head_model
    from learnmm_esi.head.model import HeadModelSettings

    return fsaverage_head_model(HeadModelSettings(ico=int(ico.value)), progress=True)


def _reconstructed(ico: Ico | None, weights: str | None) -> HeadModel:
    """The fsaverage model that was asked for; unless one was, that of the weights."""
    if ico is not None or weights is None:
        return _fsaverage(ico or Ico.ico4)
    from learnmm_esi.head.fsaverage import fsaverage_head_model
    from learnmm_esi.head.model import HeadModelSettings
    from learnmm_esi.networks.files import describe
    from learnmm_esi.recordings.learned import find_weights

    head = describe(find_weights(weights))["config"].get("head")
    settings = HeadModelSettings() if head is None else HeadModelSettings(**head)
    return fsaverage_head_model(settings, progress=True)


@contextlib.contextmanager
def _advice() -> Iterator[None]:
    """Name the option where the library names a method of MNE-Python."""
    from learnmm_esi.recordings.preparation import MissingReferenceError

    try:
        yield
    except MissingReferenceError as error:
        raise ValueError(f"{error}; here, with --average-reference") from error


def _agg(picture: Path | None = None) -> None:
    """Draw to files only, since a server has no display; refuse a file of an unknown kind."""
    import matplotlib
    from matplotlib.backend_bases import FigureCanvasBase

    matplotlib.use("agg")
    known = FigureCanvasBase.get_supported_filetypes()
    if picture is not None and picture.suffix[1:].lower() not in known:
        raise ValueError(
            f"a picture's name must end with one of .{', .'.join(sorted(known))}, "
            f"got {picture.name!r}"
        )


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    name = name.removesuffix(Path(name).suffix)
    for kind in ("ave", "epo", "raw", "eeg"):
        name = name.removesuffix(f"-{kind}").removesuffix(f"_{kind}")
    return name or file.name
