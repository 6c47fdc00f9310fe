"""Table I beside the paper's, and the energy along the iterations (Figure 2), from evaluations.

Run with ``python examples/esi/table1.py`` after ``learnmm-esi evaluate``. Reads the ``*.json`` of a
folder (those with several horizons from its subfolder ``horizons``), and writes ``table1.md`` and
``figure2.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from evaluations import read_evaluations
from rich.console import Console
from rich.table import Table
from table1_rows import COLUMNS, after, classical_rows, markdown, missing, rows, trainings

RESULTS = Path(__file__).parent / "results"
ABLATION = """What confines the steps, all from the same start. *mm-net-a*: elementwise interval
of the paper's uniform bound; *b*: multipliers in the metric of the structured majorant; *c*: the
same with verified relaxation; *d*: any multipliers on the gradient, the safeguard alone. After 0
steps: the start alone.
"""


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

    evaluations = read_evaluations(options.evaluations)
    lines = rows(evaluations, classical_rows(RESULTS / "calibration.json"))
    console = Console()
    # Seventeen columns need more than a terminal has: each line becomes two rather than be cut.
    table = Table("row", "found", show_lines=True)
    for line in lines:
        named = [f"{name} {cell}" for name, cell in zip(COLUMNS[6:], line[6:], strict=True) if cell]
        table.add_row(" ".join(filter(None, line[:6])), ", ".join(named))
    console.print(table)

    text = [
        "# Table I, beside the paper's\n",
        "LE, LE-global in mm, AUC × 100, PSNR in dB, TE in ms; mean ± standard error. *Paper* rows "
        "are as printed there, 2 000 samples, after 500 epochs. Ours are on our own head model and "
        "after the minutes of training in the last column: compare rows of equal minutes. The "
        "paper's networks have 3 × 3 kernels on images one sample high, two thirds of which only "
        "see padding; ours have the other third.\n",
        markdown(COLUMNS, lines),
        "",
    ]
    if lacking := missing(evaluations):
        text += ["\nNot trained or evaluated yet:\n", *(f"- {name}" for name in lacking), ""]
    folder = options.evaluations / "ablation"
    if folder.is_dir():
        parts = read_evaluations(folder)
        text += ["\n## Ablation\n", ABLATION, markdown(("steps", *COLUMNS), after(parts))]
        evaluations += parts
    folder = options.evaluations / "horizons"
    if folder.is_dir():
        far = read_evaluations(folder)
        text += [
            "\n## Far beyond the training horizon\n",
            markdown(("steps", *COLUMNS), after(far)),
            "\n![Energy along the iterations](figure2.png)\n",
        ]
        figure2(far, options.out / "figure2.png")
        evaluations += far
    text += ["\n## How\n", *(f"- {line}" for line in trainings(evaluations))]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table1.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    console.print(f"Written: {options.out / 'table1.md'}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # of files that are missing or no evaluations
        raise SystemExit(f"Error: {error}") from None
