"""The page of learned families, and how its counts are made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from benchmarks.learning.page import page, picture, ratio, used
from benchmarks.learning.rivals import adam, torch_lbfgs
from learnmm.families.solved import drawn, solve
from learnmm.families.trial import counted
from learnmm_problems.quadratic import QuadraticProblem


def row(name: str, learned: float | None, plain: float, shares: str = "operator") -> dict[str, Any]:
    def counts(number: float | None) -> dict[str, list[float | None]]:
        return {"0.001": [number] * 3, "1e-06": [number] * 3}

    there = {"learned": counts(learned), "plain": counts(plain)}
    there |= {"refused": 0.1, "monotone": 1.0, "started": 0.5}
    return {
        "name": name,
        "shares": shares,
        "unknowns": 5,
        "under": "mean" if shares else "own",
        "starts": bool(shares),
        "minutes": 0.5,
        "break_even": 100,
        "break_even_evaluations": None,
        "size": 10,
        "there": {"": there, "data": there},
        "rivals": {"Adam, best of six rates": counts(None)},
    }


def test_goals_are_counted_from_the_rows(tmp_path: Path) -> None:
    rows = [row("a", 10, 40), row("b", 20, 40), row("c", 30, 40), row("d", None, 40)]
    rows.append(row("e", 40, 40, shares=""))
    text = "\n".join(page(rows, "learning", 1))
    assert "| 1e-6 in at most half of the evaluations: 12 families that share | 2 of 4 |" in text
    assert "| in at most a third: 5 | 1 |" in text
    assert "| worst inf, 4 of 5 within |" in text
    assert "| worst 1.00; 0 of 1 use learning |" in text
    assert "never / 40" in text
    picture(rows, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 1000


def test_a_ratio_of_equals_is_one() -> None:
    same = row("a", None, 1)["there"][""]
    same["plain"] = same["learned"]
    assert ratio(same, "0.001") == 1.0
    assert used(row("a", 1, 1, shares="")) == "nothing"


def test_evaluations_are_counted_from_the_first_on() -> None:
    values = torch.tensor([[1.0, 1.0], [0.5, math.nan], [1e-4, 0.9], [0.2, 0.9]])
    assert counted(values, torch.zeros(2), 0.5).tolist() == [2.0, math.inf]
    assert counted(values, torch.zeros(2), 1e-3).tolist() == [3.0, math.inf]


def test_rivals_solve_an_easy_quadratic() -> None:
    family = QuadraticProblem(unknowns=3, condition=2.0)
    instance = drawn(family, 0, 0)
    optimum = solve(instance).optimum
    assert float(adam(instance, optimum, (1e-3,))[1e-3].median()) < 100
    assert float(torch_lbfgs(family, 0, (1e-3,))[1e-3].median()) < 15
