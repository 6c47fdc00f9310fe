"""Weights on disk: they come back with everything, and are refused where they do not serve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import learnmm as lmm
from eeg_learning import build, recordings
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.fingerprint import fingerprint, same_leadfield
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.training.losses import distance


def test_weights_come_back_with_everything(head, tmp_path) -> None:
    solver = build(head, "mm-net")
    batch = recordings(head)
    path = tmp_path / "w.safetensors"
    save_solver(path, solver, {"data": "erp", "training": {}}, {"minutes": 1}, half=False)
    again = load_solver(path, head)
    assert (again.method, again.recordings) == (solver.method, solver.recordings)
    assert torch.equal(again(batch).x, solver(batch).x)
    save_solver(path, solver, {"data": "erp", "training": {}}, {"minutes": 1})
    half = load_solver(path, head)
    assert float(distance(half(batch).x, solver(batch).x).detach()) < 1e-3


def test_weights_are_refused_for_another_head(head, tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    save_solver(path, build(head, "mm-net"), {"data": "erp", "training": {}}, {})
    other = replace(head, leadfield=head.leadfield * (1 + 1e-3 * np.sin(np.arange(80))))
    with pytest.raises(ValueError, match=r"another lead field.*learnmm-esi train"):
        load_solver(path, other)
    fewer = replace(head, channel_names=head.channel_names[:-1], leadfield=head.leadfield[:-1])
    with pytest.raises(ValueError, match=rf"it lacks {head.channel_names[-1]}"):
        load_solver(path, fewer)
    with pytest.raises(ValueError, match="a head model of somebody's own"):
        load_solver(path)
    lmm.save_weights(path, torch.nn.Linear(2, 2), {"some": "thing"})
    with pytest.raises(ValueError, match="not those of a source-imaging method"):
        load_solver(path, head)


def test_fingerprint_survives_rounding_and_sees_changes(fsaverage_model) -> None:
    matrix = fsaverage_model.leadfield
    rng = np.random.default_rng(0)
    known = fingerprint(matrix)
    rounded = matrix * (1 + 1e-7 * rng.standard_normal(matrix.shape))
    assert same_leadfield(known, fingerprint(rounded))
    assert same_leadfield(known, fingerprint(2 * matrix))  # units play no role
    swapped = matrix.copy()
    swapped[[3, 4]] = matrix[[4, 3]]
    for other in (
        matrix[:-1],
        matrix[:, ::-1],
        swapped,
        matrix * (1 + 0.01 * rng.random((1, 994))),
    ):
        assert not same_leadfield(known, fingerprint(other))


def test_shipped_weights_are_found_by_their_name() -> None:
    solver = lmm.load_pretrained("mm-net")
    assert isinstance(solver, SourceSolver)
    assert solver.method.name == "mm-net"
    assert not solver.training
