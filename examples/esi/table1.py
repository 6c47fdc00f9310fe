"""Table I beside the paper's, and the energy along the iterations (Figure 2), from evaluations.

Run with ``python examples/esi/table1.py`` after ``learnmm-esi evaluate``. Reads the ``*.json`` of a
folder (those with several horizons from its subfolder ``horizons``), and writes ``table1.md``, a
page each for ablation, horizons and settings, and ``figure2.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from evaluations import horizon, read_evaluations
from rich.console import Console
from table1_page import TITLES, Found, table
from table1_rows import COLUMNS, after, markdown, missing, our_line, trainings

RESULTS = Path(__file__).parent / "results"
INTRODUCTION = """# Table I, beside the paper's

Localisation error (LE) and time error (TE) in mm and ms, area under the ROC curve (AUC) times 100,
peak signal-to-noise ratio (PSNR) in dB; mean ± standard error. The best of ours in a group is bold.
The paper's numbers are as printed there: 2 000 samples, noise as the first iterate, 500 epochs of
training. Ours are on our own head model, after the minutes of the last column.
[What differs beside](table1_settings.md), [what confines the steps](table1_ablation.md), [what the
interval of the paper allows](printed.md), [far more steps](table1_horizons.md).
"""
FURTHER = {
    "ablation": (
        "# What confines the steps\n",
        "All from the same start. *mm-net-a*: elementwise interval of the paper's uniform bound; "
        "*b*: multipliers in the metric of the structured majorant; *c*: the same with verified "
        "relaxation; *d*: any multipliers on the gradient, the safeguard alone. After 0 steps: the "
        "start alone.\n",
    ),
    "horizons": (
        "# Far beyond the training horizon\n",
        "Ten steps are what was trained for; after 0 steps it is the start alone.\n\n"
        "![Energy along the iterations](figure2.png)\n",
    ),
}
SETTINGS = """# How the rows of Table I were made

The paper's networks have 3 x 3 kernels on images one sample high, two thirds of which only see
padding; ours have the other third. *LE-global* looks for the peak everywhere, LE within seven
neighbours of the true place. *Monotone*: recordings whose energy rose in no step; *clipped*:
multipliers that the interval changed.
"""


def all_on(data: str, evaluations: list[dict], calibration: dict) -> list[Found]:
    """Rows of ours on a data set; none if nothing was learned there."""
    learned = [Found.of(content) for content in evaluations if content["tested_on"] == data]
    classical = [
        Found.classical(row, calibration["columns"])
        for row in calibration["rows"]
        if row["data"].lower() == data and row["change"] == "the protocol"
    ]
    return [*classical, *learned] if learned or classical else []


def figure2(evaluations: list[dict], path: Path) -> None:
    """Draw energy, data term and prior term along the iterations, far beyond training."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained", sharex=True)
    for content in evaluations:
        label = f"{content['method']}, start {content['start']}"
        for axis, name in zip(axes, ("energy", "data_term", "prior_term"), strict=True):
            axis.plot(np.arange(len(content[name])) + 1, content[name], label=label)
    for axis, title in zip(axes, ("energy", "data term", "prior term"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="iteration + 1", title=title)
        axis.axvline(11, color="0.8", zorder=0)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(
        "Means over the test set, of each method's own energy; the line is the training horizon"
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the options, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=Path, default=RESULTS / "evaluations")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()

    console = Console()
    evaluations = read_evaluations(options.evaluations)
    calibration = json.loads((RESULTS / "calibration.json").read_text(encoding="utf-8"))
    tables = [
        f"## {title}\n\n{table(data, found)}\n"
        for data, title in TITLES.items()
        if (found := all_on(data, evaluations, calibration))
    ]
    pages = {"table1": [INTRODUCTION, *tables]}
    if lacking := missing(evaluations):
        listed = (f"- {name}" for name in lacking)
        pages["table1"] += ["Not trained or evaluated yet:\n", *listed, ""]
    for name, (title, told) in FURTHER.items():
        folder = options.evaluations / name
        if folder.is_dir():
            parts = read_evaluations(folder)
            pages[f"table1_{name}"] = [title, told, markdown(("steps", *COLUMNS), after(parts))]
            evaluations += parts
            if name == "horizons":
                figure2(parts, options.out / "figure2.png")
    whole = markdown(COLUMNS, [our_line(content, horizon(content)) for content in evaluations])
    how = (f"- {line}" for line in trainings(evaluations))
    pages["table1_settings"] = [SETTINGS, whole, "\n## Trainings\n", *how]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, lines in pages.items():
        (options.out / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        console.print(f"Written: {options.out / name}.md")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # of files that are missing or no evaluations
        raise SystemExit(f"Error: {error}") from None
