"""The methods that there are: listed without an import, loaded by their name.

A file of ``networks/methods`` is found by the class in it that gives its `name` and `summary` as
literals; they are read from its text, so that ``--help`` need not import torch. `register` adds a
method from elsewhere.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from learnmm_esi.networks import methods as package

if TYPE_CHECKING:
    from learnmm_esi.networks.method import Method

_registered: dict[str, type[Method]] = {}


class Shipped(NamedTuple):
    """Where a method of the library is, and its line for ``--help``."""

    module: str
    kind: str
    summary: str


def methods() -> dict[str, str]:
    """Names of the methods, sorted, with a line on each.

    Examples
    --------
    >>> methods()["mm-net"]
    'any multipliers on the damped gradient, every step verified'
    """
    found = {name: entry.summary for name, entry in _shipped().items()}
    found |= {name: kind.summary for name, kind in _registered.items()}
    return dict(sorted(found.items()))


def method(name: str, **settings: Any) -> Method:
    """Make a method.

    Parameters
    ----------
    name : str
        One of `methods`.
    **settings
        Fields of its class.

    Raises
    ------
    ValueError
        If there is no such method, or it refuses a setting.
    TypeError
        If it has no such setting.

    Examples
    --------
    >>> method("mm-net", hidden=8).start
    'learned'
    """
    return method_class(name)(**settings)


def method_class(name: object) -> type[Method]:
    """Return the class of a method; raise ValueError for a name that there is not."""
    if isinstance(name, str) and name in _registered:
        return _registered[name]
    if not isinstance(name, str) or name not in _shipped():
        raise ValueError(f"method must be one of {', '.join(methods())}, got {name!r:.200}")
    entry = _shipped()[name]
    kind: type[Method] = getattr(import_module(entry.module), entry.kind)
    return kind


def register(kind: type[Method]) -> type[Method]:
    """Add a method that is not the library's, from then on as good as those that are.

    Parameters
    ----------
    kind : type
        A concrete, frozen dataclass derived from `Method`.

    Returns
    -------
    type
        The same, so that this serves as a decorator.

    Raises
    ------
    TypeError
        If it is no concrete subclass of `Method`.
    ValueError
        If its name or summary cannot be one, or the name is another method's.
    """
    from learnmm_esi.networks.method import Method

    if not (isinstance(kind, type) and issubclass(kind, Method)) or inspect.isabstract(kind):
        raise TypeError(f"register takes a concrete subclass of Method, got {kind!r}")
    name, summary = getattr(kind, "name", None), getattr(kind, "summary", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(
            f"the name of {kind.__name__} must be of lower-case letters, digits and hyphens, since "
            f"files are called after it, got {name!r}"
        )
    if not isinstance(summary, str) or not summary or "\n" in summary:
        raise ValueError(f"the summary of {name} must be one line of text, got {summary!r}")
    if name in _shipped() or _registered.get(name, kind) is not kind:
        raise ValueError(f"there is a method called {name} already")
    _registered[name] = kind
    return kind


@cache
def _shipped() -> dict[str, Shipped]:
    found = {}
    for path in [path for folder in package.__path__ for path in Path(folder).glob("*.py")]:
        for kind, said in _classes(path.read_text(encoding="utf-8")):
            if {"name", "summary"} <= said.keys():
                module = f"{package.__name__}.{path.stem}"
                found[said["name"]] = Shipped(module, kind, said["summary"])
    return found


def _classes(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Classes of a module, and what they say of themselves by literals."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            yield (
                node.name,
                {
                    line.targets[0].id: line.value.value
                    for line in node.body
                    if isinstance(line, ast.Assign)
                    and isinstance(line.targets[0], ast.Name)
                    and isinstance(line.value, ast.Constant)
                    and isinstance(line.value.value, str)
                },
            )
