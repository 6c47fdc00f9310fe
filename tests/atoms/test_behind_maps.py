"""Atoms behind every kind of linear map: values, gradients, bounds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm.checks import assert_majorant
from maps import MAPS, MapCase, matrix_of, normal, require_twins

by_map = pytest.mark.parametrize("case", MAPS, ids=lambda case: case.name)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")

ATOMS: dict[str, Callable[[Tensor], lmm.Atom]] = {
    "quadratic": lmm.Quadratic,
    "cauchy": lambda y: lmm.HalfQuadratic(y, "cauchy"),
    "cosine": lmm.CosineDistance,
    "cosine pointwise": lambda y: lmm.CosineDistance(y, "pointwise"),
}
by_atom = pytest.mark.parametrize("name", ATOMS)


@by_map
@by_atom
def test_atoms_behind_a_map(case: MapCase, name: str) -> None:
    linear, x = case.build(3), case.point(4)
    y = normal(*linear(x).shape, seed=5)
    atom = ATOMS[name](y) @ linear
    atom.check(x)
    require_twins(atom, ATOMS[name](y.flatten(1)) @ matrix_of(linear, x), x)
    bound = atom.bound(x)
    assert bound.kind is max(ATOMS[name](y).bound(linear(x)).kind, case.kind)
    assert bound.failure_probability == linear.failure_probability
    assert_majorant(None, atom, x, search_steps=25)


@pytest.mark.parametrize("other", [1.0, "f", None])
def test_nothing_but_a_map_stands_behind_an_atom(other: object) -> None:
    with pytest.raises(TypeError):
        lmm.Quadratic(torch.ones(2, 3)) @ other  # type: ignore[operator]
