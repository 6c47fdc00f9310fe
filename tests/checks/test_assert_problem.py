"""`checks.assert_problem` holds for what is installed, and finds every kind of broken word."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import learnmm as lmm
from catalogue import PROBLEMS, ProblemCase


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case.label)
def test_every_problem_keeps_its_word(case: ProblemCase) -> None:
    lmm.checks.assert_problem(case.load(), steps=3)


class Parabola(lmm.Problem):
    """``f(x) = |x - y|^2``."""

    name = "parabola"

    def draw(self, batch, dtype, generator):
        y = torch.randn(batch, 2, generator=generator, dtype=torch.float64).to(dtype)
        return self.change(
            lmm.Instance(
                lambda x: ((x - y) ** 2).sum(1),
                torch.zeros_like(y),
                optimum=torch.zeros(batch, dtype=dtype),
                minimizer=y,
            ),
            batch,
        )

    def change(self, drawn: lmm.Instance, batch: int) -> lmm.Instance:
        return drawn


def test_a_problem_that_keeps_its_word_passes() -> None:
    lmm.checks.assert_problem(Parabola())


class Narrow(Parabola):
    """Ignores the dtype."""

    def change(self, drawn, batch):
        return replace(drawn, x0=drawn.x0.double(), minimizer=None, optimum=None)


class Unseeded(Parabola):
    """Draws from torch's global generator."""

    def draw(self, batch, dtype, generator):
        return super().draw(batch, dtype, None)


class Constant(Parabola):
    """Knows no generator."""

    def draw(self, batch, dtype, generator):
        return super().draw(batch, dtype, torch.Generator().manual_seed(3))


class Boastful(Parabola):
    """Claims too large an optimum."""

    def change(self, drawn, batch):
        return replace(drawn, optimum=drawn.optimum + 100)


class Misplaced(Parabola):
    """Another minimizer."""

    def change(self, drawn, batch):
        return replace(drawn, minimizer=drawn.minimizer + 1)


class Sloped(Parabola):
    """A minimizer without an optimum, at a slope."""

    def change(self, drawn, batch):
        return replace(drawn, minimizer=drawn.minimizer + 1, optimum=None)


class Broken(Parabola):
    """A start where nothing is finite."""

    def change(self, drawn, batch):
        return replace(drawn, x0=drawn.x0 + torch.inf)


class Imprecise(Parabola):
    """Another function in float32."""

    def change(self, drawn, batch):
        factor = 1.0 if drawn.x0.dtype == torch.float64 else 1.01
        fun = drawn.objective
        return replace(drawn, objective=lambda x: factor * fun(x))


class Fewer(Parabola):
    """One optimum for all."""

    def change(self, drawn, batch):
        return replace(drawn, optimum=drawn.optimum[:1])


class Undocumented(Parabola):
    pass


Undocumented.__doc__ = None


class Nothing(Parabola):
    """Draws no instance."""

    def change(self, drawn, batch):
        return drawn.x0


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Narrow(), "x0 has shape .* and dtype torch.float32, got .* torch.float64"),
        (Unseeded(), "the same state of the generator gives the same instance"),
        (Constant(), "another state of the generator gives another instance"),
        (Boastful(), "no start lies below the optimum"),
        (Misplaced(), "the minimizer attains the optimum"),
        (Sloped(), "the gradient vanishes at the minimizer"),
        (Broken(), "x0 is finite"),
        (Imprecise(), "float32 is the same problem as float64"),
        (Fewer(), r"optimum has shape \(3,\)"),
        (Undocumented(), "states its objective in a docstring"),
        (Nothing(), "draws an Instance, got Tensor"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, lmm.Problem) else "",
)
def test_broken_words_are_found(problem: lmm.Problem, message: str) -> None:
    with pytest.raises(lmm.checks.LawViolation, match=message):
        lmm.checks.assert_problem(problem)
