"""The record of a run: ``log.jsonl``, row by row, and ``curve.png``."""

from __future__ import annotations

import io
import json
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from learnmm.storage import parse_json, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
LOG, CURVE = "log.jsonl", "curve.png"
MOST = 1e300  # of a number in a row: beyond any loss, and drawable


class Log:
    """Rows in memory, and in a file from :meth:`open` on.

    Parameters
    ----------
    folder : Path or None
        Where ``log.jsonl`` and ``curve.png`` are.
    step : int
        Rows of the file up to this step are taken up. What of it is damaged is left out: a run
        depends on no row.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self._damaged: list[int] = []
        if folder is not None:
            self.rows, self._damaged = _read(folder / LOG, step)
        self._file: IO[str] | None = None

    def open(self) -> None:
        """Let the file have the rows so far, and those to come as they come.

        One that is damaged is kept under another name, with a warning.
        """
        if self.folder is not None:
            path = self.folder / LOG
            if self._damaged:
                _keep_aside(path, self._damaged)
            write_file(path, "".join(map(_line, self.rows)).encode())
            self._file = path.open("a", buffering=1, encoding="utf-8")

    def add(self, row: Row) -> None:
        """Append a row; what is not finite becomes null."""
        row = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        self.rows.append(row)
        if self._file is not None:
            try:
                self._file.write(_line(row))
            except OSError as error:
                error.filename = self._file.name
                raise

    def close(self) -> None:
        """Close the file; every row has been written, or its error been raised."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def draw(self) -> None:
        """Write the losses so far to ``curve.png``, next to an open file."""
        if self.folder is None or self._file is None:
            return
        figure = curve(self.rows)
        if figure is None:
            return
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100)
        write_file(self.folder / CURVE, content.getvalue())


def curve(rows: Sequence[Row]) -> Figure | None:
    """Draw the losses over the steps; None without one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel="outer loss")
    styles: dict[str, Row] = {
        "loss": {"lw": 0.7, "alpha": 0.5, "label": "training batch"},
        "training_loss": {"marker": "o", "ms": 3, "label": "training mean"},
        "validation_loss": {"marker": "o", "ms": 3, "label": "validation"},
    }
    drawn = []
    for name, style in styles.items():
        points = [(r["step"], r[name]) for r in rows if r.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), **style)
        drawn += [loss for _, loss in points]
    if not drawn:
        return None
    if min(drawn) > 0:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _read(path: Path, step: int) -> tuple[list[Row], list[int]]:
    """Return the rows up to a step, and the numbers of the lines that no run has written.

    A last line without its end is what a crash leaves, and later rows are those that the
    checkpoint does not know of.
    """
    rows: list[Row] = []
    damaged: list[int] = []
    if step == 0 or not path.exists():
        return rows, damaged
    latest = 0
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = _row(line)
        except ValueError:
            damaged.append(number)
            continue
        if row["step"] < latest:
            damaged.append(number)
        latest = max(latest, row["step"])
        if row["step"] <= step:
            rows.append(row)
    return rows, damaged


def _row(line: bytes) -> Row:
    """Read a row; raise ValueError unless it holds numbers, its step among them."""
    row = parse_json(line.decode("utf-8"))
    numbers = [value for value in row.values() if value is not None]
    if any(type(value) not in (int, float) or abs(value) > MOST for value in numbers):
        raise ValueError("rows hold numbers")
    if type(row.get("step")) is not int or row["step"] < 1:
        raise ValueError("rows have a step")
    return row


def _keep_aside(path: Path, damaged: list[int]) -> None:
    number = 1
    while (aside := path.with_name(f"log.damaged-{number}.jsonl")).exists():
        number += 1
    os.replace(path, aside)
    lines = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
    warnings.warn(
        f"{path} is damaged in line {lines}: the run goes on with the other rows, "
        f"the file is kept as {aside.name}",
        stacklevel=2,
    )
