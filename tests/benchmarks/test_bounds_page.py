"""The page on bounds: nothing public is without a row, and the page can be made."""

from __future__ import annotations

import inspect
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import learnmm as lmm
from benchmarks.bounds import __main__ as program
from benchmarks.bounds.cases import Case, cases
from benchmarks.bounds.measure import SHRINK, bound_over_true, run
from learnmm.atoms import (
    AutoencoderBound,
    Composed,
    CosineBound,
    Loss,
    Scaled,
    SmootherBound,
    Sum,
)
from learnmm.linear import Form

CASES = list(cases())
PAGE = Path(__file__).parents[2] / "benchmarks/results/bounds.md"


def leaves(atom: object) -> list[lmm.Atom]:
    """An atom's innermost parts; none of a plain function."""
    if isinstance(atom, Sum):
        return [leaf for part in atom.parts for leaf in leaves(part)]
    if isinstance(atom, Composed | Scaled):
        return leaves(atom.atom)
    return [atom] if isinstance(atom, lmm.Atom) else []


ATOMS = [leaf for case in CASES for leaf in leaves(case.energy)]
MAPS = [
    part.linear
    for case in CASES
    for part in (case.energy.parts if isinstance(case.energy, Sum) else (case.energy,))
    if isinstance(part, Composed)
]


def public_classes() -> list[type]:
    found = (getattr(lmm, name) for name in lmm.__all__)
    return [one for one in found if isinstance(one, type)]


def test_every_atom_has_a_row() -> None:
    public = {one for one in public_classes() if issubclass(one, lmm.Atom)} - {lmm.Atom}
    assert {type(atom) for atom in ATOMS} >= public


def test_every_option_of_an_atom_has_a_row() -> None:
    modes = {(type(atom), atom.mode) for atom in ATOMS if hasattr(atom, "mode")}
    assert modes == {
        *((lmm.CosineDistance, mode) for mode in CosineBound),
        *((lmm.AutoencoderPrior, mode) for mode in AutoencoderBound),
        *((lmm.LinearSmootherPrior, mode) for mode in SmootherBound),
    }
    assert {atom.loss for atom in ATOMS if isinstance(atom, lmm.HalfQuadratic)} == set(Loss)
    assert {atom.tight for atom in ATOMS if isinstance(atom, lmm.Logistic)} == {True, False}


def test_every_majorant_has_a_row() -> None:
    """But for what they derive from, and for the default, which takes one of the others."""
    found = (getattr(lmm.majorants, name) for name in lmm.majorants.__all__)
    here = {one for one in found if one.__module__.startswith("learnmm.majorants.")}
    public = {one for one in here if not inspect.isabstract(one)}
    assert len(public) >= 4
    assert {type(case.majorant) for case in CASES} >= public - {lmm.majorants.DefaultMajorant}


def test_every_kind_has_a_row() -> None:
    kinds = set()
    for case in CASES:
        optimizer = lmm.ProjectedMMOptimizer(case.energy, majorant=case.majorant)
        state = optimizer.init(case.x0)
        kinds.add(optimizer.majorant(state.x, state.aux).kind)
    assert kinds == set(lmm.Kind)


def test_every_form_of_a_map_has_a_row() -> None:
    matrices = [one for one in MAPS if isinstance(one, lmm.linear.MatrixMap)]
    assert {one.form for one in matrices if not one.sparse} == set(Form)
    assert {one.form for one in matrices if one.sparse} == set(Form) - {Form.STRUCTURED}
    operators = [one for one in MAPS if isinstance(one, lmm.linear.LinearOperator)]
    assert {one.kind for one in operators} == {lmm.Kind.GLOBAL, lmm.Kind.PROBABLE}
    assert {one.absolute is None for one in operators} == {True, False}


def test_rows_of_an_objective_are_of_one_objective() -> None:
    """Gaps are measured from the best of them; start and value agree."""
    first: dict[str, Case] = {}
    for case in CASES:
        other = first.setdefault(case.objective, case)
        assert torch.equal(case.x0, other.x0)
        point = case.x0 + 0.1
        torch.testing.assert_close(case.energy(point), other.energy(point))
        if case.twin is not None:
            torch.testing.assert_close(case.twin(point), case.energy(point))
    order = [case.objective for case in CASES]
    assert len(first) == 1 + sum(a != b for a, b in pairwise(order))


def chosen(objective: str, bound: str) -> Case:
    (case,) = (one for one in CASES if (one.objective, one.bound) == (objective, bound))
    return case


def test_ratio_of_a_bound_that_is_too_large_by_a_known_factor() -> None:
    target = torch.zeros(2, 3, dtype=torch.float64)
    case = Case("square", "three times", lmm.Quadratic(target, 2.0), target + 1)
    bound = lmm.majorants.LipschitzMajorant(6.0)(case.x0)
    torch.testing.assert_close(
        bound_over_true(case, bound, case.x0), torch.full((2,), 3.0).double()
    )
    bent = Case("square", "negative", lambda x: -(x * x).sum(1), target + 1)
    assert bool(torch.isinf(bound_over_true(bent, bound, bent.x0)).all())


def test_what_a_run_reports() -> None:
    exact = run(chosen("weighted quadratic", "exact"), 3)
    torch.testing.assert_close(exact.ratios, torch.ones_like(exact.ratios))
    assert exact.kind is lmm.Kind.GLOBAL
    assert exact.relaxed is None
    secant = run(chosen("matrix factorisation", "secant of the last step"), 6)
    assert secant.kind is lmm.Kind.ESTIMATE
    # A majorant that learns from its steps: a run that forgot them would not see its bound change.
    assert float(secant.ratios.max() / secant.ratios.min()) > 1.5
    region = chosen("matrix factorisation", "region")
    assert run(region, 3).cut == 0


def test_the_page_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [
        chosen("cosine", "pointwise"),
        chosen("matrix factorisation", "region"),
        chosen(program.COMPOSITE, "global + scalar"),
    ]
    monkeypatch.setattr(program, "cases", lambda: iter(some))
    output = tmp_path / "page.md"
    arguments = ["bounds", "--steps", "2", "--many", "3", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", arguments)
    program.main()
    page = output.read_text()
    assert capsys.readouterr().out.strip() == page.strip()
    assert output.with_suffix(".png").stat().st_size > 10_000
    for case in some:
        assert f"| {case.objective} | {case.bound} |" in page
    assert page.count("\n| global + scalar | ") == len(SHRINK)
    assert "{" not in page


def test_the_page_shown_is_of_these_cases() -> None:
    page = PAGE.read_text()
    for case in CASES:
        assert f"| {case.objective} | {case.bound} |" in page
    assert page.strip().endswith(program.CHOOSING.read_text().strip())
