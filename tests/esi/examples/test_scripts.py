"""The other scripts of the reproduction run, on heads and weights that are small or untrained."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from eeg_recordings import save_untrained
from scripts import EXAMPLES


def test_figure1_draws_every_method(
    fsaverage_model: Any, head_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    weights = save_untrained(tmp_path / "w.safetensors", fsaverage_model, "r-mm-net")
    arguments = ["figure1.py", str(weights), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    found = runpy.run_path(str(EXAMPLES / "esi" / "figure1.py"), run_name="__main__")
    assert list(found["maps"]) == ["truth", "MNE", "sLORETA", "r-mm-net"]
    assert (tmp_path / "figure1.png").stat().st_size > 10_000
