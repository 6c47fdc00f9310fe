"""Options in groups: what typer is shown, and what a command is called with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from learnmm_esi.cli.command import OptionGroup, as_command

Begin = Annotated[float, typer.Option(help="Begin in s.")]


@dataclass(frozen=True)
class Span(OptionGroup):
    panel = "Time of interest"
    tmin: Begin = 0.0
    tmax: Annotated[float | None, typer.Option("--end", help="End of it.")] = None

    def __post_init__(self) -> None:
        if self.tmax is not None and self.tmax < self.tmin:
            raise ValueError(f"--end must not be before --tmin={self.tmin}, got {self.tmax}")


@dataclass(frozen=True)
class Elsewhere(Span):
    panel = "Elsewhere"


@dataclass(frozen=True)
class Output(OptionGroup):
    folder: Annotated[Path, typer.Option("--out", help="Where to.")]
    kinds: Annotated[list[str], typer.Option(help="Of file.")] = field(default_factory=list)


def grouped(
    name: Annotated[str, typer.Argument()],
    span: Span,
    output: Output,
    often: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 1,
) -> None:
    """Crop a recording."""
    print(name, span, output, often, sep="\n")


def elsewhere(span: Elsewhere) -> None: ...


TIME = {"rich_help_panel": "Time of interest"}


def plain(
    name: Annotated[str, typer.Argument()],
    folder: Annotated[Path, typer.Option("--out", help="Where to.")],
    tmin: Annotated[float, typer.Option(help="Begin in s.", **TIME)] = 0.0,
    tmax: Annotated[float | None, typer.Option("--end", help="End of it.", **TIME)] = None,
    kinds: Annotated[list[str], typer.Option(help="Of file.")] = [],  # noqa: B006
    often: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 1,
) -> None:
    """Crop a recording."""


def run(function, *arguments: str, code: int = 0) -> str:
    app = typer.Typer(rich_markup_mode="rich")
    app.command("crop")(function)

    @app.callback()
    def main(context: typer.Context) -> None:
        context.obj = {"traceback": False}

    result = CliRunner().invoke(app, ["crop", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_help_is_that_of_a_function_of_all_the_options():
    assert run(as_command(grouped), "--help") == run(plain, "--help")


def test_a_command_gets_its_groups():
    told = run(as_command(grouped), "a", "--out", "b", "--end", "2", "--kinds", "c", "--often", "3")
    span, output = Span(0.0, 2.0), Output(Path("b"), ["c"])
    assert told.splitlines() == ["a", str(span), str(output), "3"]


def test_values_that_a_group_refuses_are_told_in_a_sentence():
    told = run(as_command(grouped), "a", "--out", "b", "--tmin", "3", "--end", "2", code=1)
    assert told == "Error: --end must not be before --tmin=3.0, got 2.0\n"


def test_numbers_are_finite_before_groups_are_made():
    told = run(as_command(grouped), "a", "--out", "b", "--tmin", "nan", code=2)
    assert re.search("finite number, got nan", told)


def test_a_required_option_of_a_group_is_required():
    assert "--out" in run(as_command(grouped), "a", code=2)


def test_two_options_of_one_name_are_refused():
    def twice(span: Span, tmin: float) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'tmin'"):
        as_command(twice)


def test_a_panel_changes_no_other_command_of_the_same_group():
    """Annotations are shared by all that use a group."""
    titles = {"Elsewhere": elsewhere, "Time of interest": grouped}
    for title, function in titles.items():
        told = run(as_command(function), "--help")
        assert [other for other in titles if other in told] == [title]
