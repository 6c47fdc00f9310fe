"""Heads that the benchmarks' tests simulate on, built once for all test processes."""

from __future__ import annotations

import pytest


@pytest.fixture
def kept_heads(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep them where the tests of head models do, not among the user's."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "headmodels"
    monkeypatch.setenv("LEARNMM_CACHE", str(shared))
