"""What torch says about itself, and users cannot act on, is kept from them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import torch, learnmm as lmm
settings = lmm.SolveSettings(max_iter=3)
lmm.minimize(lambda x: (x**4).sum(), torch.ones(3), proposer=None, settings=settings)
"""


def test_a_first_solve_warns_of_nothing() -> None:
    strict = [sys.executable, "-W", "error", "-c", PROGRAM]
    found = subprocess.run(strict, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert not found.stderr
