"""Modules that a function can reach, found without calling it."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

DATA = (type(None), str, bytes, int, float, complex, Tensor)
"""What holds no module."""

CONTAINERS = (Mapping, list, tuple, set, frozenset, functools.partial)
LARGEST = 1000
"""Containers with more entries hold data."""

LIBRARIES = frozenset({"builtins", "learnmm", "numpy", "torch"})
"""Packages whose functions, classes and modules of Python hold no module of a user."""

MOST = 300
"""Values to look at, the nearest first: code may name half a library."""

Names = frozenset[str]
CALLED: Names = frozenset({"__call__", "__wrapped__"})
"""Where the code is behind a call."""


def modules_within(function: Callable[..., Any]) -> list[nn.Module]:
    """Outermost modules that `function` names: by itself or in what it calls, in variables of the
    functions around it, defaults, globals, arguments bound to it, attributes and containers.

    What it does not name (what it finds by index in a registry elsewhere, say) stays unseen.
    """
    found: dict[int, nn.Module] = {}
    seen: dict[tuple[int, Names], Any] = {}  # holds on to them, or numbers would come again
    waiting: deque[tuple[Any, Names]] = deque([(function, CALLED)])
    while waiting and len(seen) < MOST:
        value, names = waiting.popleft()
        if isinstance(value, nn.Module):
            found[id(value)] = value
        if (id(value), names) not in seen:
            seen[id(value), names] = value
            waiting += [part for part in _parts(value, names) if not _is_foreign(part[0])]
    return list(found.values())


def _parts(value: Any, names: Names) -> Iterator[tuple[Any, Names]]:
    """What a value holds, with the names by which code looks into it."""
    if isinstance(value, FunctionType):
        inner = _names(value.__code__)
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents, inner
            except ValueError:  # not assigned yet
                continue
        held = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        yield from ((part, inner) for part in (*held, *vars(value).values()))
        yield from ((value.__globals__[n], inner) for n in inner if n in value.__globals__)
    elif isinstance(value, MethodType):
        yield value.__func__, names
        yield value.__self__, _names(value.__func__.__code__) if _has_code(value) else names
    elif isinstance(value, functools.partial):
        yield from ((part, names) for part in (value.func, *value.args, *value.keywords.values()))
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        if len(value) <= LARGEST:
            parts: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
            yield from ((part, names) for part in parts)
    else:
        yield from _attributes(value, names)


def _attributes(value: Any, names: Names) -> Iterator[tuple[Any, Names]]:
    """What `names` stand for in an object, a class or a module of Python; nothing is computed."""
    own = getattr(value, "__dict__", {})
    yield from ((own[n], names) for n in names if n in own)
    if isinstance(value, ModuleType | type):
        return
    for name in names:
        found = next((vars(k)[name] for k in type(value).__mro__ if name in vars(k)), None)
        method = found.fget if isinstance(found, property) else found
        if isinstance(method, FunctionType):
            yield MethodType(method, value), names


def _is_foreign(value: Any) -> bool:
    """Whether there is nothing to find: data, or the code and the objects of a library."""
    if isinstance(value, DATA):
        return True
    if isinstance(value, (*CONTAINERS, nn.Module)):
        return False
    coded = isinstance(value, FunctionType | MethodType | ModuleType | type)
    owner = value if coded else type(value)
    home = getattr(owner, "__name__" if isinstance(owner, ModuleType) else "__module__", None)
    return isinstance(home, str) and home.partition(".")[0] in LIBRARIES


def _names(code: CodeType) -> Names:
    """Names that a function uses, those within it included."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(code.co_names).union(CALLED, *inner)


def _has_code(method: MethodType) -> bool:
    return isinstance(method.__func__, FunctionType)
