"""Bounds and descent of every atom where the data lives, in both precisions."""

from __future__ import annotations

import pytest
import torch

import learnmm as lmm
from catalogue import ATOMS, AtomCase, Draw

DEVICES = ["cuda"] if torch.cuda.is_available() else []
"""On the CPU every atom has its laws in the tests of atoms."""

CASES = [
    pytest.param(case, device, dtype, id=f"{case.name}-{device}-{dtype}")
    for device in DEVICES
    for case in ATOMS
    for dtype in (torch.float32, torch.float64)
]


@pytest.mark.parametrize(("case", "device", "dtype"), CASES)
def test_atoms_hold_their_laws_on_a_device(case: AtomCase, device: str, dtype: torch.dtype) -> None:
    draw = Draw(3, dtype, device=device)
    atom, x0 = case.build(draw), case.point(draw)
    if dtype is torch.float64:
        lmm.checks.assert_majorant(None, atom, x0)
    for proposer in (None, lmm.LimitedMemory()):
        lmm.checks.assert_descent(lmm.ProjectedMMOptimizer(atom, proposer=proposer), x0, 10)
