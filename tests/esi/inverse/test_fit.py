"""What the optimizer did for one recording is told as it happened."""

from __future__ import annotations

import pytest
import torch

import learnmm as lmm
from learnmm_esi.inverse.fit import fits_of

TARGET = torch.tensor([[[3.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64)


def solved(start: torch.Tensor, *, history: bool = True) -> lmm.Result:
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(TARGET), settings=lmm.SolveSettings(max_iter=50)
    )
    return optimizer.minimize(start, history=history)


def test_energies_run_from_the_start_to_the_last_step_of_each_recording():
    start = TARGET.clone()
    start[1] += 1.0
    result = solved(start)
    still, moved = fits_of(result, result.x, TARGET)
    assert set(still.energies.tolist()) == {0.0}
    assert moved.energies[0] == float(result.initial_fun[1])
    assert moved.energies[-1] == float(result.fun[1])
    assert moved.explained == pytest.approx(1.0)
    assert f"{moved.kind.name} bound, monotone, 0 candidates above it" in str(moved)


def test_a_start_that_needs_no_step_has_no_bound():
    result = solved(TARGET)
    fits = fits_of(result, result.x, TARGET)
    assert [fit.energies.tolist() for fit in fits] == [[0.0], [0.0]]
    assert [fit.kind for fit in fits] == [None, None]
    assert "in 0 steps, 100.0 % of the recording explained; no step was tried." in str(fits[0])


def test_a_result_without_history_is_refused():
    result = solved(TARGET + 1.0, history=False)
    with pytest.raises(ValueError, match="fits_of: expected a result of minimize"):
        fits_of(result, result.x, TARGET)
