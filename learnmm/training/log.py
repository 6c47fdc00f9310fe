"""The record of a run: ``log.jsonl``, row by row, and ``curve.png``."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import IO, Any

from learnmm.storage import write_file

Row = dict[str, Any]


class Log:
    """Rows in memory, and in a file from :meth:`open` on.

    Parameters
    ----------
    folder : Path or None
        Where ``log.jsonl`` and ``curve.png`` are.
    step : int
        Rows of the file up to this step are taken up.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self.folder = folder
        self.rows: list[Row] = _read(folder / "log.jsonl", step) if folder is not None else []
        self._file: IO[str] | None = None

    def open(self) -> None:
        """Let the file have the rows so far, and those to come as they come."""
        if self.folder is not None:
            path = self.folder / "log.jsonl"
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
            self._file.write(_line(row))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def draw(self) -> None:
        """Write the losses so far to ``curve.png``, next to an open file."""
        if self.folder is None or self._file is None:
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.0))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(xlabel="step", ylabel="outer loss")
        styles: dict[str, Row] = {
            "loss": {"lw": 0.7, "alpha": 0.5, "label": "training batch"},
            "training_loss": {"marker": "o", "ms": 3, "label": "training mean"},
            "validation_loss": {"marker": "o", "ms": 3, "label": "validation"},
        }
        drawn = []
        for name, style in styles.items():
            points = [(r["step"], r[name]) for r in self.rows if r.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), **style)
            drawn += [loss for _, loss in points]
        if not drawn:
            return
        if min(drawn) > 0:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100)
        write_file(self.folder / "curve.png", content.getvalue())


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _read(path: Path, step: int) -> list[Row]:
    """Return the rows up to a step; a line that a crash has cut off ends them."""
    rows: list[Row] = []
    if step == 0 or not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or row.get("step", step + 1) > step:
            break
        rows.append(row)
    return rows
