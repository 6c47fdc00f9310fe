"""An evaluation is that of each recording, and says what was not verified."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from eeg_learning import TIMES, build
from learnmm_esi.metrics import Evaluator, PerSeedEvaluator
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.evaluate import evaluate


def test_evaluation_is_that_of_each_recording(head) -> None:
    solver = build(head, "mm-net")
    test = ERPSimulator(head, seed=5, times=TIMES, size=40)
    found = evaluate(solver, test, 40, horizons=(4, 2, 0))
    assert list(found.after) == [0, 2, 4]
    batch = test.batch(range(33, 36))
    compare = Evaluator(head, test.sfreq)
    with torch.no_grad():
        start = solver.energy.start(torch.from_numpy(batch.sensors))
        expected = compare(batch.sources, start, batch.seed_source)
        np.testing.assert_allclose(found.after[0].metrics.psnr[33:36], expected.psnr, rtol=1e-4)
        for steps in (2, 4):
            solved = solver(torch.from_numpy(batch.sensors), steps=steps)
            expected = compare(batch.sources, solved.x, batch.seed_source)
            np.testing.assert_allclose(
                found.after[steps].metrics.psnr[33:36], expected.psnr, rtol=1e-4
            )
            np.testing.assert_allclose(
                found.energy[: steps + 1, 33:36], solved.values.numpy(), rtol=1e-4
            )
    weight = float(solver.energy.log_weight.detach().exp())
    np.testing.assert_allclose(found.energy, found.data_term + weight * found.prior_term, rtol=1e-4)
    assert json.dumps(found.summary())
    assert "accepted" not in found.summary()
    with pytest.raises(ValueError, match="2 samples or more"):
        evaluate(solver, test, 1)


def test_what_the_verdict_would_take_is_counted_and_all_are_taken(head) -> None:
    solver = build(head, "mm-net", start="learned")
    test = ERPSimulator(head, seed=5, times=TIMES, size=40)
    assert evaluate(solver, test, 40).summary()["accepted"] == 1, "it has not learned yet"
    verdict = solver.energy.verdict
    assert verdict is not None
    verdict.learned.fill_(True)  # and no context is within zero and zero
    found = evaluate(solver, test, 40, horizons=(0, 2))
    assert found.summary()["accepted"] == 0
    batch = test.batch(range(40))
    start = solver.energy.start(torch.from_numpy(batch.sensors)).detach()
    expected = Evaluator(head, test.sfreq)(batch.sources, start, batch.seed_source)
    np.testing.assert_allclose(found.after[0].metrics.psnr, expected.psnr, rtol=1e-4)


def test_of_several_patches_the_seeds_are_averaged(head) -> None:
    solver = build(head, "mm-net")
    test = ERPSimulator(head, seed=5, times=TIMES, size=6, patches=PatchSettings(2, max_hops=1))
    found = evaluate(solver, test, 6, horizons=(2,))
    batch = test.batch(range(6))
    with torch.no_grad():
        x = solver(torch.from_numpy(batch.sensors), steps=2).x
    expected = PerSeedEvaluator(head, test.sfreq)(
        batch.sources, x, batch.seed_sources, batch.patches
    )
    row = found.summary()["steps"]["2"]
    for name, value in expected.summary().items():
        assert row[name] == pytest.approx(value, rel=1e-4)
    assert "auc_of_patch" in row


def test_evaluation_of_a_method_that_is_not_verified_says_so(head) -> None:
    solver = build(head, "4dvarnet")
    with torch.no_grad():
        solver.proposer.network.decode.weight.mul_(10)
    found = evaluate(solver, ERPSimulator(head, seed=5, times=TIMES), 8, horizons=(30,)).summary()
    assert found["steps"]["30"]["monotone"] < 1
    assert found["steps"]["30"]["worst_increase"] > 0
    assert found["steps"]["30"]["rejected"] == 0
