"""What learning bought, on instances that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from learnmm.families.trial import GAPS, Trial
from learnmm.storage.configuration import short, shown

USED = {
    "own": "",
    "mean": "the mean Hessian",
    "space": "predicted Hessians",
    "spectrum": "the spectrum of the mean Hessian",
}
"""Names of metrics; that of the default needs none."""

QUANTILES = {"median": 0.5, "90 %": 0.9, "worst": 1.0}


@dataclass(frozen=True)
class Counts:
    """Evaluations of one solver to the gaps of `GAPS`, over instances.

    Attributes
    ----------
    evaluations : Mapping
        By gap, as text such as ``"0.001"``, and quantile, ``"median"``, ``"90 %"``, ``"worst"``;
        infinite where a gap was not reached.
    instances, monotone : int
        How many, and how many of them never rose.
    refused : float
        Share of candidates that were refused.
    """

    evaluations: Mapping[str, Mapping[str, float]]
    instances: int
    monotone: int
    refused: float

    @staticmethod
    def of(trial: Trial) -> Counts:
        """Count."""
        return Counts(
            {f"{g:g}": {name: trial.at(g, q) for name, q in QUANTILES.items()} for g in GAPS},
            len(trial.monotone),
            int(trial.monotone.sum()),
            trial.refused / max(1, trial.tried),
        )

    def at(self, gap: float, quantile: str = "median") -> float:
        """Evaluations to a gap."""
        return self.evaluations[f"{gap:g}"][quantile]


@dataclass(frozen=True)
class Report:
    """What learning a family bought beside BFGS, the default, on unseen instances.

    Attributes
    ----------
    family : str
        The problem and its parameters.
    under, starts : str, bool
        What is used of what was learned, chosen on other instances: which metric, and the start.
    learned, plain : Counts
        Of the learned solver, and of BFGS.
    started : float
        Share of instances that began at the learned start.
    minutes : float
        Of the whole training.
    spent : float
        Evaluations of the training, Hessian-vector products counted as two.
    seconds : tuple of float
        Median time of one solve to a gap of 1e-6, one at a time: learned, and BFGS.
    """

    family: str
    under: str
    starts: bool
    learned: Counts
    plain: Counts
    started: float
    minutes: float
    spent: float
    seconds: tuple[float, float]

    @property
    def pays(self) -> bool:
        """Whether anything that was learned is used."""
        return self.starts or self.under != "own"

    @property
    def break_even(self) -> float:
        """Solves, one at a time, after which training has paid for itself in time."""
        return _after(60 * self.minutes, self.seconds[1] - self.seconds[0])

    @property
    def break_even_evaluations(self) -> float:
        """Solves after which training has paid for itself in evaluations."""
        saved = self.plain.at(GAPS[-1]) - self.learned.at(GAPS[-1])
        return _after(self.spent, saved if math.isfinite(saved) else 0.0)

    def __str__(self) -> str:
        """A few lines for people."""
        count, monotone = self.learned.instances, self.learned.monotone
        lines = [f"{self.family}: {count} unseen instances, {self.minutes:.1f} minutes of training"]
        for gap in GAPS:
            pairs = [
                f"{name} {_whole(self.learned.at(gap, name))} instead of "
                f"{_whole(self.plain.at(gap, name))}"
                for name in QUANTILES
            ]
            lines.append(f"  evaluations to {gap:g} of the gap: {', '.join(pairs)}")
        if not self.pays:
            lines.append("  Learning buys nothing here: this is what `minimize` does anyway.")
            return "\n".join(lines)
        parts = [part for part in ("a learned start" * self.starts, USED[self.under]) if part]
        lines.append(
            f"  uses {' and '.join(parts)}; {100 * self.started:.0f} % of the starts were taken, "
            f"{100 * self.learned.refused:.0f} % of the candidates refused, {monotone} of {count} "
            "runs monotone"
        )
        lines.append(
            f"  training pays for itself after {_solves(self.break_even)} in time, one at a time, "
            f"and {_solves(self.break_even_evaluations)} in evaluations"
        )
        return "\n".join(lines)

    def written(self) -> dict[str, Any]:
        """As JSON can say it: what is infinite is None."""
        parts: dict[str, Any] = _mapped(asdict(self), lambda n: n if math.isfinite(n) else None)
        return parts

    @staticmethod
    def read(notes: Mapping[str, Any]) -> Report:
        """Build a report from what :meth:`written` made of it.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is anything else.
        """
        parts = _mapped(dict(notes), lambda n: math.inf if n is None else n)
        for name in ("learned", "plain"):
            parts[name] = Counts(**parts[name])
            numbers = [parts[name].at(gap, q) for gap in GAPS for q in QUANTILES]
            _check_numbers(parts[name].instances, parts[name].monotone, *numbers)
        parts["seconds"] = tuple(parts["seconds"])
        report = Report(**parts)
        _check_numbers(report.started, report.minutes, report.spent, *report.seconds)
        told = isinstance(report.family, str) and type(report.starts) is bool
        if not (told and report.under in USED and len(report.seconds) == 2):
            raise ValueError(f"no report of a family: {short(dict(notes))}")
        return replace(report, family=shown(report.family))


def _mapped(tree: Any, number: Callable[[Any], Any]) -> Any:
    """The same tree with a function applied to numbers and to None."""
    if isinstance(tree, Mapping):
        return {name: _mapped(part, number) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return [_mapped(part, number) for part in tree]
    return tree if isinstance(tree, str | bool) else number(tree)


def _check_numbers(*numbers: Any) -> None:
    if wrong := [n for n in numbers if isinstance(n, bool) or not isinstance(n, int | float)]:
        raise TypeError(f"a report has numbers, got {short(wrong)}")


def _after(spent: float, saved: float) -> float:
    return math.ceil(spent / saved) if saved > 0 else math.inf


def _solves(number: float) -> str:
    return f"{number:.0f} solves" if math.isfinite(number) else "no number of solves"


def _whole(number: float) -> str:
    return f"{number:.0f}" if math.isfinite(number) else "never"
