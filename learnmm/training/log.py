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
    """Rows in memory, and in a file if there is a folder.

    Parameters
    ----------
    folder : Path or None
        Where ``log.jsonl`` and ``curve.png`` go.
    step : int
        Rows of later steps are dropped from a file that exists.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self._file: IO[str] | None = None
        if folder is not None:
            path = folder / "log.jsonl"
            self.rows = _read(path, step)
            write_file(path, "".join(map(_line, self.rows)).encode())
            self._file = path.open("a", encoding="utf-8")

    def add(self, row: Row) -> None:
        """Append a row; what is not finite becomes null."""
        row = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        self.rows.append(row)
        if self._file is not None:
            self._file.write(_line(row))

    def flush(self) -> None:
        """Make sure that the file has every row."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def draw(self) -> None:
        """Write the losses so far to ``curve.png``."""
        if self.folder is None:
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(xlabel="step", ylabel="outer loss")
        for name, style in (("loss", "-"), ("training_loss", "o-"), ("validation_loss", "o-")):
            points = [(r["step"], r[name]) for r in self.rows if r.get(name) is not None]
            if points:
                label = name.replace("_loss", "").replace("training", "mean of training")
                label = "training" if name == "loss" else label
                width, alpha = (0.7, 0.5) if name == "loss" else (1.5, 1.0)
                axes.plot(
                    *zip(*points, strict=True), style, ms=3, lw=width, alpha=alpha, label=label
                )
        if all(r["loss"] > 0 for r in self.rows if r.get("loss") is not None):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=120)
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
        if row["step"] > step:
            break
        rows.append(row)
    return rows
