"""Outer losses are the equations that they say they are."""

from __future__ import annotations

import pytest
import torch

from eeg_learning import build, recordings
from learnmm_esi.training.losses import deep_loss, distance, paper_loss


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
