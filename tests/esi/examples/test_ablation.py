"""The variants of MM-Net: what confines each, and that the commands know them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from eeg_learning import VARIANTS, build, recordings
from learnmm_esi.cli.app import app
from learnmm_esi.networks.files import describe
from learnmm_esi.networks.registry import method
from scripts import script


@pytest.mark.parametrize("letter", "abc")
def test_confined_multipliers_stay_in_their_interval(head: Any, letter: str) -> None:
    """Far outside of it: what is proposed is cut to it, and no value rises."""
    solver = build(head, f"mm-net-{letter}")
    with torch.no_grad():
        for parameter in solver.proposer.parameters():
            parameter.mul_(30.0)
        solved = solver(recordings(head))
    assert float(solved.steps.clipped.max()) > 0
    assert bool(solver.unrolled.certificate(solved).monotone.all())


def test_the_last_variant_lets_multipliers_have_any_sign(head: Any) -> None:
    solved = build(head, "mm-net-d")(recordings(head))
    assert float(solved.steps.clipped.max()) == 0


def test_the_papers_own_has_the_papers_bounds() -> None:
    bounds = method("mm-net-a").bounds
    assert (bounds.form, bounds.cosine, bounds.prior) == ("uniform", "paper", "scalar")


def test_the_commands_train_and_evaluate_a_variant(coarse_model: Any, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        "[method]\nhidden = 4\nsteps = 2\nprior = {width = 4}\n"
        "[fit]\nsteps = 2\nadam = {warmup = 1}\nbatch_size = 2\nvalidate_every = 2\n"
        "[training]\ntrain_size = 4\nvalidation_size = 2\nhorizons = [1, 2]\n"
    )
    own = tmp_path / "mine.npz"
    np.savez(
        own,
        leadfield=coarse_model.leadfield,
        positions=coarse_model.positions,
        neighbours=coarse_model.neighbours.toarray(),
        channel_names=coarse_model.channel_names,
    )

    def run(*arguments: Any) -> None:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output

    place = ("--forward", own, "--out", tmp_path / "run")
    run("train", "mm-net-a", "--preset", tmp_path / "tiny.toml", *place)
    weights = tmp_path / "run" / "weights.safetensors"
    assert isinstance(describe(weights).config.method, VARIANTS.Elementwise)
    run("evaluate", weights, "--samples", 2, *place)
    (found,) = script("esi", "evaluations").read_evaluations(tmp_path / "run")
    assert (found["method"], found["verified"]) == ("mm-net-a", True)
