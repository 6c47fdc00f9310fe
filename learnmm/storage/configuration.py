"""Configurations as JSON: written so that they come back, read as if anybody had written them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

DEPTH = 64  # levels; what a configuration needs, far below where a recursion ends
LISTED = 16  # differences that a message lists


def as_json(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the value as JSON gives it back; raise TypeError where it cannot."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, got {type(value).__name__}")
    try:
        return parse_json(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name} must be what JSON can say: {error}") from error


def parse_json(text: str) -> dict[str, Any]:
    """Read an object of JSON; raise ValueError for anything else.

    Names that occur twice, numbers that are not finite and more than `DEPTH` levels are refused.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} levels deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected an object of JSON, got {type(value).__name__}")
    level: list[Any] = [value]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return value
    raise ValueError(f"nested more than {DEPTH} levels deep")


def differences(stored: Any, wanted: Any, at: str = "") -> list[str]:
    """List, entry by entry, where two values of JSON differ."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        found = []
        for name in sorted(stored.keys() | wanted.keys()):
            where = f"{at}.{shown(name)}" if at else shown(name)
            if name not in stored:
                found.append(f"{where} is not in the file, expected {wanted[name]!r}")
            elif name not in wanted:
                found.append(f"{where} is {short(stored[name])} in the file, not expected")
            else:
                found += differences(stored[name], wanted[name], where)
        return found
    same = stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)
    return [] if same else [f"{at} is {short(stored)} in the file, expected {wanted!r}"]


def listed(found: list[str], separator: str = "; ") -> str:
    """Join what was found for a message; of very many, the first."""
    more = [f"and {len(found) - LISTED} more"] if len(found) > LISTED else []
    return separator.join(found[:LISTED] + more)


def shown(name: str) -> str:
    """Return a name from a file as a message may hold it: nothing that a terminal obeys."""
    return name if name.isprintable() and len(name) <= 200 else short(name)


def short(value: Any) -> str:
    """Return a value from a file as a message may hold it."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"a number is not finite: {text[:40]}")
    return number
