"""The page: what learning buys, family by family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import line, made_by, table
from benchmarks.peers.profiles import draw

NEAR, CLOSE = "0.001", "1e-06"
USED = {
    "own": "",
    "mean": "mean Hessian",
    "space": "predicted Hessians",
    "spectrum": "spectrum of the mean Hessian",
}


def page(
    rows: Sequence[dict[str, Any]], program: str, seed: int, missing: Sequence[str] = ()
) -> Iterator[str]:
    """All lines; `missing` are families without a row."""
    yield from ("# What learning buys, family by family", "", f"{made_by(program, seed)}.", "")
    yield INTRODUCTION
    yield ""
    yield from table(HEAD, [line(_cells(row)) for row in rows])
    if missing:
        yield from (f"Without a row, not measured or too large to learn: {', '.join(missing)}.", "")
    yield from ("## Goals", "")
    yield from _goals(rows)
    yield from ("", "## Out of distribution", "", SHIFTED, "")
    yield from table(
        ["family", "what is shifted", "to 1e-3", "to 1e-6", "ratio", "starts taken", "monotone"],
        [line(cells) for row in rows for cells in _shifted(row)],
    )
    yield from ("## Beside others", "", RIVALS, "")
    solvers = list(dict.fromkeys(name for row in rows for name in row["rivals"]))
    yield from table(
        ["family", "learned", "BFGS", *solvers],
        [line(_beside(row, solvers)) for row in rows],
    )
    yield "![Performance profiles](learning.png)"


INTRODUCTION = (
    "Evaluations of value and gradient until so much of `f(x0) - f*` is left, learned / BFGS (the "
    "default: a matrix up to 32 unknowns, limited memory of 10 pairs above), on 64 instances that "
    "nothing was trained or chosen on; the evaluation of `x0`, that of the learned start and those "
    "of refused candidates are counted. `never` is more than 400. Training: `lmm.learn` with its "
    "default settings. What is used was chosen on held-out instances; where that is nothing, the "
    "solver is the default. Break-even is the number of solves, one at a time, after which "
    "training has paid for itself, in time and in evaluations (a Hessian-vector product counts as "
    "two)."
)
SHIFTED = (
    "The same learned solvers on instances drawn from elsewhere, medians. The ratio is that of the "
    "evaluations to 1e-6."
)
RIVALS = (
    "Median evaluations to 1e-6. Adam has the rate that is best for the family, chosen with "
    "hindsight; torch's L-BFGS has its strong Wolfe search and 12 instances of its own."
)
HEAD = [
    "family",
    "shares",
    "unknowns",
    "what is used",
    "to 1e-3: median",
    "to 1e-6: median",
    "90 %",
    "worst",
    "ratio",
    "refused",
    "monotone",
    "minutes",
    "break-even: time, evaluations",
]


def _cells(row: dict[str, Any]) -> list[str]:
    there = row["there"][""]
    return [
        row["name"],
        row["shares"] or "nothing",
        str(row["unknowns"]),
        used(row),
        _pair(there, NEAR, 0),
        _pair(there, CLOSE, 0),
        _pair(there, CLOSE, 1),
        _pair(there, CLOSE, 2),
        f"{ratio(there, CLOSE):.2f}",
        f"{100 * there['refused']:.0f} %",
        f"{100 * there['monotone']:.0f} %",
        f"{row['minutes']:.1f}",
        _paid(row),
    ]


def _paid(row: dict[str, Any]) -> str:
    if used(row) == "nothing":
        return "–"
    return f"{_count(row['break_even'])}, {_count(row['break_even_evaluations'])}"


def used(row: dict[str, Any]) -> str:
    """What of what was learned is used."""
    parts = ["start"] * row["starts"] + [USED[row["under"]]]
    return " and ".join(part for part in parts if part) or "nothing"


def ratio(there: dict[str, Any], gap: str) -> float:
    """Median evaluations, learned over the default."""
    ours, plain = (_number(there[who][gap][0]) for who in ("learned", "plain"))
    return 1.0 if ours == plain else ours / plain


def _shifted(row: dict[str, Any]) -> Iterator[list[str]]:
    for where, there in row["there"].items():
        if where:
            yield [
                row["name"],
                where,
                _pair(there, NEAR, 0),
                _pair(there, CLOSE, 0),
                f"{ratio(there, CLOSE):.2f}",
                f"{100 * there['started']:.0f} %",
                f"{100 * there['monotone']:.0f} %",
            ]


def _beside(row: dict[str, Any], solvers: Sequence[str]) -> list[str]:
    there = row["there"][""]
    others = [_count(row["rivals"].get(name, {CLOSE: [None]})[CLOSE][0]) for name in solvers]
    others = [
        "–" if name not in row["rivals"] else n for name, n in zip(solvers, others, strict=True)
    ]
    return [
        row["name"],
        _count(there["learned"][CLOSE][0]),
        _count(there["plain"][CLOSE][0]),
        *others,
    ]


def _goals(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    sharing = [row for row in rows if row["shares"]]
    alone = [row for row in rows if not row["shares"]]
    close = [ratio(row["there"][""], CLOSE) for row in sharing]
    near = [ratio(row["there"][""], NEAR) for row in sharing]
    lonely = [ratio(row["there"][""], CLOSE) for row in alone]
    far = [ratio(t, CLOSE) for row in rows for where, t in row["there"].items() if where]
    trusting = sum(used(row) != "nothing" for row in alone)
    paying = [row for row in rows if used(row) != "nothing"]
    early = [row for row in paying if (row["break_even"] or math.inf) < 1000]
    monotone = all(t["monotone"] == 1 for row in rows for t in row["there"].values())
    yield from table(
        ["goal", "measured"],
        [
            line(cells)
            for cells in (
                (
                    "1e-6 in at most half of the evaluations: 12 families that share",
                    f"{_most(close, 1 / 2)} of {len(close)}",
                ),
                ("in at most a third: 5", str(_most(close, 1 / 3))),
                ("1e-3 in at most half: 10", str(_most(near, 1 / 2))),
                (
                    "families that share nothing: at most 1.1 times",
                    f"worst {max(lonely, default=1):.2f}; {trusting} of {len(alone)} use learning",
                ),
                (
                    "out of distribution: never above 1.2 times",
                    f"worst {max(far, default=1):.2f}, {_most(far, 1.2)} of {len(far)} within",
                ),
                ("all runs monotone", "yes" if monotone else "no"),
                ("break-even below 1000 solves, in time: 10 families", str(len(early))),
            )
        ],
    )


def _most(ratios: Sequence[float], limit: float) -> int:
    return sum(r <= limit for r in ratios)


def _pair(there: dict[str, Any], gap: str, quantile: int) -> str:
    return " / ".join(_count(there[who][gap][quantile]) for who in ("learned", "plain"))


def _count(number: float | None) -> str:
    return "never" if number is None else f"{number:.0f}"


def _number(number: float | None) -> float:
    return math.inf if number is None else number


def picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Performance profiles over the families, to both gaps."""
    by_name = {row["name"]: row for row in rows}
    others = list(dict.fromkeys(name for row in rows for name in row["rivals"]))

    def cost(gap: str) -> Any:
        def of(solver: str, problem: str) -> float:
            row = by_name[problem]
            here = row["there"][""]
            counts = {"learned": here["learned"], "BFGS": here["plain"], **row["rivals"]}
            return _number(counts[solver][gap][0]) if solver in counts else math.inf

        return of

    panels = [("evaluations to 1e-3", cost(NEAR)), ("evaluations to 1e-6", cost(CLOSE))]
    draw(path, panels, ["learned", "BFGS", *others], ["learned"], list(by_name))
