"""Families of problems that are solved again and again, at the sizes of the benchmarks.

``python -m learnmm_problems.families`` measures how much limited memory, which learns nothing, has
to do for each.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from torch import Tensor

import learnmm as lmm
from learnmm.families import counted
from learnmm.registry import Instance, Problem

GAPS = (1e-3, 1e-6)
"""Shares of the initial distance to the best value."""

LONG = lmm.SolveSettings(max_iter=3000, gtol=0.0)
"""Of the search for the best value."""


def settings() -> dict[str, dict[str, Any]]:
    """Return the parameters of each family, as its file gives them."""
    text = files("learnmm_problems").joinpath("families.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def families() -> dict[str, Problem]:
    """Return all families by name.

    Examples
    --------
    >>> from learnmm_problems.families import families
    >>> families()["tomography"].shares
    'operator'
    """
    return {name: family(**chosen) for name, chosen in settings().items()}


def family(problem: str, **parameters: Any) -> Problem:
    """Return an installed problem; what is a list in a file is a tuple here."""
    made = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
    return lmm.problem(problem, **made)


class Effort(NamedTuple):
    """What limited memory needs for a family.

    Attributes
    ----------
    unknowns, data : int
        Numbers per problem.
    milliseconds : float
        One evaluation of a batch of 64.
    seconds : float
        Drawing and solving 64 problems.
    evaluations : list of float
        Median, for every gap.
    """

    unknowns: int
    data: int
    milliseconds: float
    seconds: float
    evaluations: list[float]


def effort(problem: Problem, problems: int = 32, seed: int = 0) -> Effort:
    """Solve some problems of a family by limited memory, in float64.

    The gap is the share of the distance from the start to the best value that a long run finds,
    with more memory or less; an evaluation is one of value and gradient, after the first.

    Parameters
    ----------
    problem : Problem
        The family.
    problems : int
        How many to solve.
    seed : int
        Of the generator.
    """
    began = time.perf_counter()
    drawn = problem.instance(64, generator=torch.Generator().manual_seed(seed))
    drawn.optimizer(proposer=lmm.LimitedMemory()).minimize(drawn.x0)
    seconds = time.perf_counter() - began
    milliseconds = 1e3 * _seconds_of_an_evaluation(drawn)
    few = problem.instance(problems, generator=torch.Generator().manual_seed(seed))
    curve = _values(few, lmm.LimitedMemory())
    best = torch.minimum(curve[-1], _values(few, lmm.LimitedMemory(40))[-1])
    counts = [float((counted(curve, best, gap) - 1).median()) for gap in GAPS]
    data = 0 if few.data is None else few.data.shape[1]
    return Effort(few.x0[0].numel(), data, milliseconds, seconds, counts)


def _seconds_of_an_evaluation(drawn: Instance, repeats: int = 10) -> float:
    objective = drawn.optimizer().objective
    objective.evaluate(drawn.x0)
    began = time.perf_counter()
    for _ in range(repeats):
        objective.evaluate(drawn.x0)
    return (time.perf_counter() - began) / repeats


def _values(drawn: Instance, proposer: lmm.Proposer) -> Tensor:
    """Values from the start on, ``(steps + 1, B)``."""
    result = drawn.optimizer(proposer=proposer, settings=LONG).minimize(drawn.x0, history=True)
    assert result.history is not None
    return torch.cat([result.initial_fun[None], result.history.value])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, one line per family."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", help="families to measure; default: all")
    names = parser.parse_args(arguments).names
    print("| family | shares | unknowns | data | ms | seconds | to 1e-3 | to 1e-6 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, problem in families().items():
        if not names or name in names:
            found = effort(problem)
            counts = " | ".join(f"{count:.0f}" for count in found.evaluations)
            print(
                f"| {name} | {problem.shares or '–'} | {found.unknowns} | {found.data} | "
                f"{found.milliseconds:.1f} | {found.seconds:.1f} | {counts} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
