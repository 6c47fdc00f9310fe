"""Nothing public escapes the laws: the catalogue lists it all."""

from __future__ import annotations

import pytest
import torch

import learnmm as lmm
from catalogue import ATOMS, PRECONDITIONERS, PROBLEMS, AtomCase, Draw
from learnmm.atoms import Composed, Scaled, Sum


def parts(atom: lmm.Atom) -> set[type]:
    """Classes an atom is made of."""
    inner = atom.parts if isinstance(atom, Sum) else [getattr(atom, "atom", None)]
    return {type(atom)}.union(*(parts(part) for part in inner if part is not None))


def public(base: type) -> set[type]:
    """Concrete public subclasses."""
    found = (getattr(lmm, name) for name in lmm.__all__)
    return {c for c in found if isinstance(c, type) and issubclass(c, base) and c is not base}


def test_every_atom_is_listed() -> None:
    listed = set().union(*(parts(case.build(Draw(2, torch.float64))) for case in ATOMS))
    assert listed >= public(lmm.Atom) | {Composed, Scaled, Sum}


def test_every_preconditioner_is_listed() -> None:
    listed = {type(case.build(torch.float64)) for case in PRECONDITIONERS}
    interfaces = {lmm.LearnedPreconditioner, lmm.LearnedDirection}
    assert listed >= (public(lmm.LearnedComponent) | public(lmm.Direction)) - interfaces


def test_every_toy_problem_is_listed() -> None:
    listed = {type(case.load()) for case in PROBLEMS}
    toys = {
        type(lmm.problem(name))
        for name in lmm.problems()
        if module_of(name).startswith("learnmm_problems.")
    }
    assert listed == toys


def module_of(name: str) -> str:
    return type(lmm.problem(name)).__module__


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_atoms_have_the_kind_of_bound_that_the_catalogue_says(case: AtomCase) -> None:
    draw = Draw(2, torch.float64)
    assert case.build(draw).bound(case.point(draw)).kind is case.kind
