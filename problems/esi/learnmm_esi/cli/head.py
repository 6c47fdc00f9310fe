"""The command ``learnmm-esi head-model``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from learnmm_esi.cli.command import OptionGroup
from learnmm_esi.cli.options import Ico, IcoOption
from learnmm_esi.cli.terminal import say

if TYPE_CHECKING:
    from learnmm_esi.head.model import HeadModel

__all__ = ["head_model"]


class Surface(StrEnum):
    """Where dipoles lie."""

    pial = "pial"
    white = "white"


class Column(StrEnum):
    """What a source is."""

    sum = "sum"
    vertex = "vertex"


class Skull(StrEnum):
    """Constructions of the outer skull."""

    half = "half"
    ratio = "ratio"
    constant = "constant"
    fsaverage = "fsaverage"


@dataclass(frozen=True)
class HeadOptions(OptionGroup):
    """Which head model is built."""

    ico: IcoOption = Ico.ico4
    sources: Annotated[int, typer.Option(help="Number of cortical regions.")] = 994
    surface: Annotated[Surface, typer.Option(help="Where the dipoles lie.")] = Surface.pial
    column: Annotated[
        Column, typer.Option(help="A source: the sum over its region, or its centre vertex.")
    ] = Column.sum
    skull: Annotated[
        Skull,
        typer.Option(help="How the outer skull is constructed; fsaverage: FreeSurfer's surfaces."),
    ] = Skull.half
    subjects_dir: Annotated[
        Path | None,
        typer.Option(help="Where fsaverage was fetched to, for --skull fsaverage. Default: MNE's."),
    ] = None
    conductivity: Annotated[
        tuple[float, float, float], typer.Option(help="Brain, skull and scalp in S/m.")
    ] = (0.33, 0.004125, 0.33)

    def build(self) -> HeadModel:
        """Build the head model, or read it from the cache."""
        from learnmm_esi.head.fsaverage import fsaverage_head_model
        from learnmm_esi.head.settings import HeadModelSettings

        settings = HeadModelSettings(
            sources=self.sources,
            ico=int(self.ico.value),
            surface=self.surface.value,
            column=self.column.value,
            skull=self.skull.value,
            conductivity=self.conductivity,
        )
        return fsaverage_head_model(settings, subjects_dir=self.subjects_dir, progress=True)


def head_model(
    head: HeadOptions,
    picture: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw it to this file, name.png.")
    ] = None,
    forward: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write it as an MNE forward solution, name-fwd.fif."),
    ] = None,
) -> None:
    """Build the fsaverage head model, or read it from the cache, and report on it."""
    from learnmm.storage import replacing
    from learnmm_esi.cli.outputs import draw_to_files, make_writable
    from learnmm_esi.head.report import report

    for path in filter(None, (forward, picture)):
        make_writable(path.parent)
    if picture is not None:
        draw_to_files(picture)
    model = head.build()
    say(report(model))
    if forward is not None:
        import mne

        with replacing(forward) as file:
            mne.write_forward_solution(file, model.forward(), overwrite=True, verbose="ERROR")
        say(f"Forward solution: {forward}")
    if picture is not None:
        from learnmm_esi.plots.head import plot_head_model

        with replacing(picture) as file:
            plot_head_model(model).savefig(file, dpi=150)
        say(f"Picture: {picture}")
