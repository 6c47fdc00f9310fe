"""The training of the start that the library ships: table, picture, and what it extrapolates to.

Run with ``python examples/esi/training_curve.py``. Reads the validation losses of that training,
``results/ranges_log.jsonl``, and writes ``training_curve.md`` and ``ranges-curve.png``. The data
changed twice, so that losses compare within a part only; each part has a power law of its own.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

PARTS = {
    "first": (0, 2050, "dipoles near the normals, none as the paper's"),
    "second": (2050, 2830, "a fifth as the paper's"),
    "last": (2830, 5400, "and dipoles far from the normals: what the settings now say"),
}
"""Steps from and to, and what recordings were."""

CURVES = {
    "validation_first": "first stage",
    "validation_start": "second stage",
    "validation_prior": "autoencoder on the start",
}
EVERY = 3  # rows of the log are too many for a page

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
options = parser.parse_args()

text = (Path(__file__).parent / "results" / "ranges_log.jsonl").read_text()
log = [json.loads(row) for row in text.splitlines()]
parts = {name: [row for row in log if a < row["step"] <= b] for name, (a, b, _) in PARTS.items()}


def exponent(rows: list[dict]) -> float:
    """Of a power law of the steps, by least squares; the first 500 steps are none yet."""
    rows = [row for row in rows if row["step"] > 500]
    steps, losses = (np.log([row[key] for row in rows]) for key in ("step", "validation_start"))
    return float(-np.polyfit(steps, losses, 1)[0])


lines = [
    "# Training of the shipped start",
    "",
    "`python examples/esi/training_curve.py`; the log is that of the shipped weights: two cores, "
    "256 recordings a step, 512 validation recordings, whose loss `1 - cos` this is.",
    "",
    "![Curve](ranges-curve.png)",
    "",
    f"| minutes | steps | {' | '.join(CURVES.values())} | data |",
    f"|{'---|' * (len(CURVES) + 3)}",
]
for name, rows in parts.items():
    for row in [*rows[:-1][::EVERY], rows[-1]]:
        losses = " | ".join(f"{row[key]:.3f}" for key in CURVES)
        lines.append(f"| {row['seconds'] / 60:.1f} | {row['step']} | {losses} | {name} |")
lines += ["", *(f"- *{name}*: {told}" for name, (_, _, told) in PARTS.items()), ""]
falls = {name: exponent(rows) for name, rows in parts.items()}
last = falls["last"]
tenth = 0.9 ** (-1 / last)
lines += [
    "Where the loss falls as a power of the steps, the second stage's exponents are "
    + ", ".join(f"{value:.3f} ({name})" for name, value in falls.items())
    + ".",
    "",
    f"It still falls at the end, slowly: with the last exponent, twice the steps take "
    f"{100 * (1 - 2**-last):.1f} % of the loss, and a tenth less of it takes {tenth:.1f} times the "
    f"steps, {tenth * log[-1]['seconds'] / 3600:.0f} hours on two cores. Half of it would take "
    f"10^{math.log10(2) / last:.1f} times as many. The rate of learning ran out with the steps, so "
    "that a longer schedule may fall faster than this; how low the loss can be, of recordings that "
    "noise leaves undecided, is not known.",
]
options.out.mkdir(parents=True, exist_ok=True)
(options.out / "training_curve.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for color, (key, label) in zip(("C1", "C0", "C2"), CURVES.items(), strict=True):
    for number, rows in enumerate(parts.values()):
        minutes, losses = ([row[k] for row in rows] for k in ("seconds", key))
        axes.plot(np.divide(minutes, 60), losses, color=color, label=None if number else label)
axes.set(
    xscale="log", yscale="log", xlabel="minutes on two cores", ylabel="validation loss, 1 - cos"
)
axes.set_yticks([0.3, 0.35, 0.4, 0.45], ["0.30", "0.35", "0.40", "0.45"], minor=False)
axes.set_xticks([3, 10, 30, 70], ["3", "10", "30", "70"], minor=False)
axes.minorticks_off()
axes.legend(frameon=False)
figure.savefig(options.out / "ranges-curve.png", dpi=130)
