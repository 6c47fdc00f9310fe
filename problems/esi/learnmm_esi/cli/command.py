"""How a function becomes a command: its options come in groups, its errors are sentences."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, fields
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer
from typer.models import ParameterInfo

from learnmm_esi.cli.terminal import plain_errors

__all__ = ["OptionGroup", "as_command"]


class OptionGroup:
    """Options that belong together; to be derived from by frozen dataclasses.

    The annotations of the fields are those that typer takes of a function's parameters, and
    defaults are those of the options. ``__post_init__`` may refuse values with a ValueError, whose
    message is then shown.

    Attributes
    ----------
    panel : str or None
        Title of a frame of their own in ``--help``. None: they stand among the others.
    """

    panel: ClassVar[str | None] = None


def as_command(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function of single options for typer, which calls one of option groups.

    Every parameter annotated with an `OptionGroup` is replaced with the fields of that dataclass,
    at its place; other parameters stay. The call is made within `plain_errors`.

    Parameters
    ----------
    function : callable
        A command's body. Its annotations are resolved here, so they must be known by then.

    Returns
    -------
    callable
        Of keywords only: the context that typer provides, and every option.

    Raises
    ------
    ValueError
        If two options have one name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Span(OptionGroup):
    ...     panel = "Time"
    ...     tmin: Annotated[float, typer.Option(help="Begin in s.")] = 0.0
    ...     tmax: Annotated[float, typer.Option(help="End in s.")] = 1.0
    >>> app = typer.Typer()
    >>> @app.command()
    ... @as_command
    ... def crop(file: str, span: Span) -> None: ...
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {}
    flat = [_parameter("context", typer.Context)]
    for name, given in inspect.signature(function).parameters.items():
        kind = hints[name]
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            groups[name] = kind
            flat += _options(kind)
        else:
            flat.append(_parameter(name, kind, given.default))

    @functools.wraps(function)
    def command(**given: Any) -> None:
        with plain_errors(given.pop("context")):
            for name, kind in groups.items():
                given[name] = kind(**{option: given.pop(option) for option in _names(kind)})
            function(**given)

    command.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in flat}
    return command


def _names(group: type[OptionGroup]) -> list[str]:
    return [field.name for field in fields(group)]  # type: ignore[arg-type]


def _options(group: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    found = []
    for field in fields(group):  # type: ignore[arg-type]
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        elif default is MISSING:
            default = inspect.Parameter.empty
        found.append(_parameter(field.name, _in_panel(hints[field.name], group.panel), default))
    return found


def _in_panel(hint: Any, panel: str | None) -> Any:
    """Return an annotation whose option stands in a panel, unless it names one of its own."""
    if panel is None or get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    for place, note in enumerate(notes):
        if isinstance(note, ParameterInfo) and note.rich_help_panel is None:
            notes[place] = copy(note)
            notes[place].rich_help_panel = panel
    return Annotated[kind, *notes]


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
