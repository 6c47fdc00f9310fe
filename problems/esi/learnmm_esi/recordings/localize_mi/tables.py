"""Tables and descriptions of BIDS: tab-separated values with a header, and objects of JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["number", "read_json", "read_table"]


def read_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a ``.tsv`` file.

    Parameters
    ----------
    path : Path
    needed : sequence of str
        Columns that there must be.

    Returns
    -------
    list of dict of str to str
        A row each, empty where a value lacks.

    Raises
    ------
    ValueError
        If it is no text, has no rows or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", restval="")
            rows = [{str(key): str(value) for key, value in row.items()} for row in reader]
            columns = list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of tab-separated text: {error}") from error
    lacking = [name for name in needed if name not in columns]
    if lacking or not rows:
        raise ValueError(
            f"{path} must have rows and the columns {', '.join(needed)}; it has {len(rows)} rows "
            f"and the columns {', '.join(columns) or 'none'}"
        )
    return rows


def read_json(path: Path | None) -> dict[str, Any]:
    """Read a ``.json`` file that describes another; an empty description if there is none.

    Raises
    ------
    ValueError
        If it holds no object of JSON.
    """
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold an object of JSON, got {type(found).__name__}")
    return found


def number(text: object, what: str, path: Path) -> float:
    """Return a finite number that a file holds as text.

    Raises
    ------
    ValueError
        If it is none, naming `what` and the file.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ValueError(f"{path}: {what} must be a finite number, got {str(text)!r}")
    return value
