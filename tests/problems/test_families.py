"""Families at the sizes of the benchmarks: what they share is shared, shifted ones fit."""

from __future__ import annotations

import pytest
import torch

import learnmm as lmm
from draws import seeded
from learnmm_problems.families import effort, families, main

FAMILIES = families()
SHARING = {name: problem for name, problem in FAMILIES.items() if problem.shares}
by_family = pytest.mark.parametrize("name", FAMILIES)
BATCH = 2


def draw(problem: lmm.Problem, seed: int = 0) -> lmm.Instance:
    return problem.instance(BATCH, generator=seeded(seed))


def one(name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient of a batch away from its start."""
    drawn = draw(FAMILIES[name], seed)
    value, gradient, _ = drawn.optimizer().objective.evaluate(drawn.x0 + 0.1)
    return value, gradient


def test_there_are_families_of_both_kinds() -> None:
    assert len(SHARING) >= 14
    assert len(FAMILIES) - len(SHARING) >= 4
    assert {"random-quadratic", "turned-rosenbrock"}.isdisjoint(SHARING)


@by_family
def test_families_draw_finite_instances_that_differ(name: str) -> None:
    value, gradient = one(name, 0)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    assert float((value[0] - value[1]).abs()) > 0
    assert not torch.equal(value, one(name, 1)[0])


@by_family
def test_shifted_families_have_the_same_unknowns_and_data(name: str) -> None:
    problem = FAMILIES[name]
    drawn = draw(problem)
    shifted = problem.shifted()
    assert len(shifted) >= (2 if problem.shares else 0)
    for other in shifted.values():
        assert other != problem
        assert other.shares == problem.shares
        elsewhere = draw(other)
        assert elsewhere.x0.shape == drawn.x0.shape
        assert (elsewhere.data is None) == (drawn.data is None)
        if drawn.data is not None and elsewhere.data is not None:
            assert elsewhere.data.shape == drawn.data.shape
        value = elsewhere.optimizer().objective.evaluate(elsewhere.x0).value
        assert torch.isfinite(value).all()


def test_an_operator_with_a_seed_is_that_of_every_batch() -> None:
    def matrix(problem: lmm.Problem, seed: int) -> torch.Tensor:
        found = draw(problem, seed).objective.linear.matrix  # type: ignore[union-attr]
        assert isinstance(found, torch.Tensor)
        return found

    mine, theirs = (matrix(FAMILIES["quadratic"], seed) for seed in (0, 1))
    assert torch.equal(mine, theirs)
    mine, theirs = (matrix(FAMILIES["random-quadratic"], seed) for seed in (0, 1))
    assert not torch.equal(mine, theirs)


@pytest.mark.parametrize("name", ["turned-rosenbrock", "turned-mgh"])
def test_a_turned_function_has_the_values_of_the_function(name: str) -> None:
    turned = FAMILIES[name]
    drawn = turned.instance(BATCH, generator=seeded())
    rotations = drawn.objective.rotations  # type: ignore[union-attr]
    eye = torch.eye(rotations.shape[-1], dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, eye)
    z = (rotations @ drawn.x0[..., None])[..., 0]
    value = drawn.optimizer().objective.evaluate(drawn.x0).value
    torch.testing.assert_close(drawn.objective.fun(z), value)  # type: ignore[union-attr]
    lmm.checks.assert_problem(turned)


def test_the_effort_of_a_quadratic_grows_with_its_condition() -> None:
    easy, hard = (
        effort(lmm.problem("quadratic", condition=condition), problems=4)
        for condition in (2.0, 1e3)
    )
    assert easy.unknowns == 12
    assert easy.data == 0
    assert easy.evaluations[0] <= easy.evaluations[1] < hard.evaluations[1]


def test_the_table_has_a_line_for_each_family(capsys: pytest.CaptureFixture[str]) -> None:
    main(["cosine-regression"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| cosine-regression | operator | 64 | 96 |")
