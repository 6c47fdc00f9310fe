"""How the command line speaks: one console, warnings and errors without tracebacks."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from learnmm_esi.cli.interrupts import persistent_interrupt
from learnmm_esi.cli.text import printable

__all__ = ["counting", "out", "plain_errors", "say"]

out = Console()
err = Console(stderr=True)

# Their messages are sentences; those of other kinds, such as KeyError, are not.
_TOLD = (ValueError, TypeError, OSError, RuntimeError, ImportError)


@contextlib.contextmanager
def plain_errors(context: typer.Context) -> Iterator[None]:
    """Show any error as one sentence and end with code 1; warnings likewise.

    ``--traceback`` before the command shows where an error arose instead. Numbers that are not
    finite are refused, whatever option they were given to.
    """
    with warnings.catch_warnings(), persistent_interrupt():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_, **__: _say("Warning", str(message), "yellow")
        _check_numbers(context)
        try:
            yield
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as error:
            if context.obj["traceback"]:
                raise
            _say("Error", _sentence(error), "red")
            raise typer.Exit(1) from None


def say(text: object) -> None:
    """Print a line as it stands, whatever a file or a path has put into it."""
    out.print(printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


def counting() -> Progress:
    """Return a progress display that counts to a known number and stays."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=out)


def _check_numbers(context: typer.Context) -> None:
    parameters: list[Any] = context.command.params  # typer's class or click's, by its version
    for parameter in parameters:
        value = context.params.get(parameter.name)
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise typer.BadParameter(
                    f"must be a finite number, got {number}", ctx=context, param=parameter
                )


def _sentence(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory. {error}".rstrip()
    if isinstance(error, _TOLD) and str(error):
        return str(error)
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"{told}. This was not foreseen: a file may be damaged, or it is "
        "a fault of learnmm; learnmm-esi --traceback COMMAND shows where it arose"
    )


def _say(kind: str, message: str, colour: str) -> None:
    # Text, not markup: messages hold brackets of their own.
    text = Text.assemble((f"{kind}: ", f"bold {colour}"), printable(message))
    err.print(text, soft_wrap=True)
