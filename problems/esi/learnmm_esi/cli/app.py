"""The command ``learnmm-esi``: its subcommands, and the options that all of them share.

MNE-Python and torch are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from learnmm_esi.cli.command import as_command
from learnmm_esi.cli.evaluate import evaluate
from learnmm_esi.cli.head import head_model
from learnmm_esi.cli.localize_mi import localize_mi
from learnmm_esi.cli.reconstruct import reconstruct
from learnmm_esi.cli.simulate import simulate
from learnmm_esi.cli.terminal import say
from learnmm_esi.cli.train import train

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help="EEG source imaging with certified steps. Head models are kept in $LEARNMM_CACHE, "
    "or else in your cache directory.",
)


def _versions(asked: bool) -> None:
    if asked:
        from learnmm import __version__ as core
        from learnmm_esi import __version__ as own

        say(f"learnmm-esi {own}, learnmm {core}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error arose, to report it.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_versions, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options of all commands."""
    context.obj = {"traceback": traceback}


app.command("head-model")(as_command(head_model))
app.command()(as_command(simulate))
app.command()(as_command(reconstruct))
app.command()(as_command(train))
app.command()(as_command(evaluate))
app.command("localize-mi")(as_command(localize_mi))
