"""Table I beside the paper's, and the energy along the iterations (Figure 2), from evaluations.

Run with ``python examples/esi/table1.py`` after ``equal_training.py``. Reads
``equal``, the trainings of one length with their evaluations (those of several horizons from its
subfolder), ``whole``, those of another length, and ``evaluations``, those of
any length, and writes ``table1.md``, a page each for these, for curves, ablation, horizons and
settings, and the figures of these pages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import table1_curves
from evaluations import horizon, read_evaluations
from rich.console import Console
from table1_curves import CALLED
from table1_page import ALONE, TITLES, Found, table, verdict
from table1_rows import COLUMNS, after, markdown, our_line, trainings

RESULTS = Path(__file__).parent / "results"
EQUAL = ("erp", "nmm-two")
"""Data sets of the trainings of one length; the others are beside them."""

INTRODUCTION = """# Table I, beside the paper's

Localisation error (LE) and time error (TE) in mm and ms, area under the ROC curve (AUC) times 100,
peak signal-to-noise ratio (PSNR) in dB; mean ± standard error. The best of ours in a group is bold.
The paper's numbers are as printed there: 2 000 samples, noise as the first iterate, 500 epochs of
training.

Ours are on our own head model. Every method had the same {minutes:g} minutes of one core to learn
in, from each of its first iterates: the paper's noise, sLORETA, one that is learned, or, called
*evidence*, what the library estimates where it has no weights. Six tenths of the minutes go for a
learned start and the prior, three tenths for the prior of steps from the evidence. The last column
is time on the clock, with validations and with whatever shared the core.
Every learned start is taken here, to compare; *accepted* is the share that the library would take
itself, judged by the recording alone. Of the others it keeps the linear estimate, and where weights
guide, that of the evidence.
*As printed* is the paper's MM-Net with its own interval, noise, prior and loss.
*Nothing learned* is the evidence on all recordings.

[What differs beside](table1_settings.md), [how the methods learn](table1_curves.md), [the same with
more minutes](table1_whole.md), [trainings of other lengths](table1_longer.md), [what
confines the steps](table1_ablation.md), [what the interval of the paper allows](printed.md), [far
more steps](table1_horizons.md). All but the last but one are written by `python
examples/esi/table1.py`, from what `equal_training.py` left.

![Maps of one recording](figure1.png)

One recording of event-related potentials at its peak, after the same trainings from sLORETA:
`python examples/esi/figure1.py WEIGHTS...`.
"""
LONGER = """# Trainings of other lengths

As [Table I](table1.md), after the minutes of the last column, which differ from row to row: rows do
not compare as methods do. Neural masses here have one patch a recording, in training too.
"""
WHOLE = """# Table I, {minutes:g} minutes each

As [Table I](table1.md), after {minutes:g} minutes of one core instead of {fewer:g}. A longer
training starts anew, as its learning rate falls over its length. These are {number} trainings, of
the paper's methods from its noise and from sLORETA. [What they say, what was missed and
why](learning_notes.md#after-{minutes:g}-minutes).

![Curves](table1-curves-whole.png)
"""
LEARNING = """# How these learn

Told as [of {fewer:g} minutes](table1_curves.md). The paper trains 500 epochs, 125 000 steps of 32
recordings: four millions of them, where these see {least} to {most}.
"""
VERDICT = "Rows of the paper that one of ours comes up to, within 1.5 mm, 1.5 of AUC and 1 dB:\n"
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
multipliers that the interval changed. From a start that is learned or from the evidence, the energy
has a third term beside fit and prior, `1 - cos(x, x_0)`, with as much weight as the prior at first.
"""


def all_on(
    data: str, evaluations: list[dict], calibration: dict, unlearned: list[dict]
) -> list[Found]:
    """Rows of ours on a data set."""
    here = [content for content in evaluations if content["tested_on"] == data]
    classical = [
        Found.classical(row, calibration["columns"])
        for row in calibration["rows"]
        if row["data"].lower() == data and row["change"] == "the protocol"
    ]
    alone: list[Found] = []  # several methods may have one and the same start
    for content in here:
        if content["start"] in ALONE and "0" in content["steps"]:
            row = Found.start_alone(content)
            alone += [row] if row not in alone else []
    return [
        *classical,
        *(Found.unlearned(row) for row in unlearned if row["tested_on"] == data),
        *(Found.of(content) for content in here),
        *alone,
    ]


def figure2(evaluations: list[dict], path: Path) -> None:
    """Draw energy, data term and prior term along the iterations, far beyond training."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained", sharex=True)
    for content in evaluations:
        if content["tested_on"] != "erp":
            continue
        label = f"{content['method']}, from {CALLED.get(content['start'], content['start'])}"
        for axis, name in zip(axes, ("energy", "data_term", "prior_term"), strict=True):
            axis.plot(np.arange(len(content[name])) + 1, content[name], label=label)
    for axis, title in zip(axes, ("energy", "data term", "prior term"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="iteration + 1", title=title)
        axis.axvline(11, color="0.8", zorder=0)
    figure.legend(
        *axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3
    )
    figure.suptitle(
        "Event-related potentials, means of each method's own energy; the line is the horizon of "
        "training"
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the options, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--equal", type=Path, default=RESULTS / "equal")
    parser.add_argument("--whole", type=Path, default=RESULTS / "whole")
    parser.add_argument("--evaluations", type=Path, default=RESULTS / "evaluations")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()

    folders = (options.equal, options.whole, options.evaluations)
    equal, whole, others = map(read_evaluations, folders)
    calibration, unlearned = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("calibration", "unlearned")
    )
    plain = calibration, unlearned["rows"]
    options.out.mkdir(parents=True, exist_ok=True)
    records = options.equal / "trainings"
    spent = table1_curves.courses(records)[0].told["minutes"]
    curves = table1_curves.page(records, TITLES, options.out / "table1-curves.png")
    pages = {
        "table1": [INTRODUCTION.format(minutes=spent), *tables(EQUAL, equal, *plain)],
        "table1_longer": [LONGER, *tables(("erp", "nmm"), others, *plain)],
        "table1_curves": [curves],
        "table1_whole": whole_page(options, whole, spent, plain),
    }
    evaluations = [*equal, *whole, *others]
    for name, (title, told) in FURTHER.items():
        parts = read_evaluations(
            (options.equal if name == "horizons" else options.evaluations) / name
        )
        pages[f"table1_{name}"] = [title, told, markdown(("steps", *COLUMNS), after(parts))]
        evaluations += parts
        if name == "horizons":
            figure2(parts, options.out / "figure2.png")
    whole = markdown(COLUMNS, [our_line(content, horizon(content)) for content in evaluations])
    how = (f"- {line}" for line in trainings(evaluations))
    pages["table1_settings"] = [SETTINGS, whole, "\n## Trainings\n", *how]
    console = Console()
    for name, lines in pages.items():
        (options.out / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        console.print(f"Written: {options.out / name}.md")


def whole_page(
    options: argparse.Namespace, evaluations: list[dict], fewer: float, plain: tuple[dict, list]
) -> list[str]:
    """The page on trainings of another length."""
    found = table1_curves.courses(options.whole / "trainings")
    seen = [course.told["validations"][-1]["recordings"] for course in found]
    told = {
        "minutes": found[0].told["minutes"],
        "fewer": fewer,
        "number": len(found),
        "least": min(seen),
        "most": max(seen),
    }
    table1_curves.draw(found, TITLES, options.out / "table1-curves-whole.png")
    return [
        WHOLE.format(**told),
        *tables(EQUAL, evaluations, *plain),
        LEARNING.format(**told),
        *table1_curves.sections(found, TITLES),
    ]


def tables(
    sets: tuple[str, ...], evaluations: list[dict], calibration: dict, unlearned: list[dict]
) -> list[str]:
    """A section for each data set."""
    sections = []
    for data in sets:
        found = all_on(data, evaluations, calibration, unlearned)
        sections.append(f"## {TITLES[data]}\n\n{table(data, found)}\n\n{VERDICT}")
        sections.append(f"{verdict(data, found)}\n")
    return sections


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # of files that are missing or no evaluations
        raise SystemExit(f"Error: {error}") from None
