"""Outer losses are the equations that they say they are."""

from __future__ import annotations

import pytest
import torch

from eeg_learning import build, recordings
from learnmm_esi.metrics import Evaluator
from learnmm_esi.training.losses import deep_loss, distance, measured, paper_loss


def test_paper_loss_is_equation_11(head) -> None:
    solver, batch = build(head, "mm-net"), recordings(head)
    solved = solver(batch)
    x, truth = solved.x.flatten(1), batch["sources"].flatten(1)
    phi = solver.energy.autoencoder(solved.x).flatten(1)
    cos = torch.nn.functional.cosine_similarity
    expected = (1 - cos(x, truth)).mean() + (1 - cos(x, phi)).mean()
    torch.testing.assert_close(paper_loss(solver)(solved, batch)[0], expected)


def test_deep_loss_is_zero_for_a_perfect_solver_alone(head) -> None:
    solver, batch = build(head, "mm-net"), recordings(head)
    truth = batch["sources"]
    perfect = solver(batch)._replace(x=truth, iterates=(truth,) * 5)
    solver.energy.autoencoder = torch.nn.Identity()
    assert float(deep_loss(solver)(perfect, batch)[0]) < 1e-6
    worse = perfect._replace(iterates=(truth,) * 4 + (torch.ones_like(truth),))
    early = perfect._replace(iterates=(truth, torch.ones_like(truth)) + (truth,) * 3)
    late, soon = (float(deep_loss(solver)(s, batch)[0].detach()) for s in (worse, early))
    assert late > soon > 0.01
    assert float(distance(truth, -truth)) == pytest.approx(2.0)


@torch.no_grad()
def test_a_validation_says_how_good_the_estimates_are(head) -> None:
    solver, batch = build(head, "mm-net"), recordings(head)
    loss = measured(deep_loss(solver), Evaluator(head, 512.0))
    perfect = solver(batch)._replace(x=batch["sources"])
    _, said = loss(perfect, batch)
    assert (said["LE"], said["AUC"]) == (0.0, 100.0)
    _, said = loss(perfect._replace(x=torch.full_like(batch["sources"], torch.nan)), batch)
    assert all(said[name] != said[name] for name in ("LE", "AUC", "PSNR"))
    with torch.enable_grad():
        assert "LE" not in loss(solver(batch), batch)[1]
