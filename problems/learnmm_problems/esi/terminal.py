"""How the command line speaks: one console, warnings and errors without tracebacks."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["counting", "out", "plain_errors"]

out = Console()
err = Console(stderr=True)


@contextlib.contextmanager
def plain_errors(context: typer.Context) -> Iterator[None]:
    """Show what a user can mend as one sentence and end with code 1; warnings likewise.

    ``--traceback`` before the command shows where an error arose instead.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_, **__: _say("Warning", str(message), "yellow")
        try:
            yield
        except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
            if context.obj["traceback"]:
                raise
            _say("Error", str(error) or type(error).__name__, "red")
            raise typer.Exit(1) from None


def counting() -> Progress:
    """Return a progress display that counts to a known number and stays."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=out)


def _say(kind: str, message: str, colour: str) -> None:
    # Text, not markup: messages hold brackets of their own.
    err.print(Text.assemble((f"{kind}: ", f"bold {colour}"), message), soft_wrap=True)
