"""The other scripts of the reproduction run, on heads and weights that are small or untrained."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from eeg_learning import build
from eeg_recordings import save_untrained
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.method import Recordings
from scripts import EXAMPLES, script


def test_figure1_draws_every_method(
    fsaverage_model: Any, head_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    weights = save_untrained(tmp_path / "w.safetensors", fsaverage_model, "r-mm-net")
    arguments = ["figure1.py", str(weights), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    found = runpy.run_path(str(EXAMPLES / "esi" / "figure1.py"), run_name="__main__")
    assert list(found["maps"]) == ["truth", "MNE", "sLORETA", "nothing learned", "r-mm-net"]
    assert (tmp_path / "figure1.png").stat().st_size > 10_000


def run(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / "esi" / name), run_name="__main__")


def test_what_learns_nothing_is_evaluated_on_every_data_set(
    fsaverage_model: Any, head_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    few = ("--samples", 4, "--ico", 3, "--out", tmp_path)
    run("unlearned.py", "--data", "erp", "nmm-two", *few, monkeypatch=monkeypatch)
    rows = json.loads((tmp_path / "unlearned.json").read_text())["rows"]
    assert [(row["tested_on"], row["samples"]) for row in rows] == [("erp", 4), ("nmm-two", 4)]
    assert all(row["monotone"] == 1.0 for row in rows)
    assert rows[0]["psnr"] > 30.0  # MNE has 21
    assert "auc_of_patch" in rows[1]
    table = script("esi", "table1_page")
    assert table.Found.unlearned(rows[1]).means["AUC-patch"] == 100 * rows[1]["auc_of_patch"]


def test_plain_steps_stand_beside_the_evaluation_that_they_are_held_against(
    fsaverage_model: Any, head_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    weights = save_untrained(tmp_path / "w.safetensors", fsaverage_model)
    row = dict.fromkeys(script("esi", "evaluations").EVALUATION["steps"]["*"], 0.5)
    evaluation = {
        **dict.fromkeys(("trained_on", "tested_on"), "erp"),
        **{"method": "mm-net", "start": "learned", "verified": True, "seed": 2, "samples": 2},
        **{"horizon": 2, "clipped": 0.0, "parameters": {"all": 7}, "training": {"minutes": 1}},
        **{name: [1.0] for name in ("energy", "data_term", "prior_term")},
        "steps": {"0": row, "2": row},
    }
    path = tmp_path / "mm-net.json"
    path.write_text(json.dumps(evaluation))
    run("plain_steps.py", weights, path, monkeypatch=monkeypatch)
    found = json.loads((tmp_path / "plain-mm-net.json").read_text())
    assert found["method"] == "limited memory on the energy of mm-net"
    assert list(found["steps"]) == ["0", "2"]
    assert found["steps"]["2"]["monotone"] == 1.0
    assert found["energy"][2] < found["energy"][0]
    evaluation["start"] = "noise"
    path.write_text(json.dumps(evaluation))
    with pytest.raises(SystemExit, match="of mm-net from noise, the weights are of mm-net from le"):
        run("plain_steps.py", weights, path, monkeypatch=monkeypatch)


def test_steps_outside_of_their_training_stand_beside_the_evidence_alone(
    fsaverage_model: Any, head_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    steps = script("esi", "steps_outside")
    monkeypatch.setattr(steps, "SETTINGS", (steps.Setting("biosemi32"),))
    monkeypatch.setattr(steps, "MOST_PATCHES", 0)
    path = tmp_path / "w.safetensors"
    solver = build(
        fsaverage_model, "mm-net", Recordings(), start="evidence", reference=1e6, steps=1
    )
    save_solver(path, solver, {"data": "erp"}, {})
    arguments = [path, "--samples", 4, "--out", tmp_path]
    monkeypatch.setattr("sys.argv", ["steps_outside.py", *map(str, arguments)])
    steps.main()
    text = (tmp_path / "steps_outside.md").read_text().splitlines()
    header, _, row = [line for line in text if line.startswith("| ")][:3]
    found = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert found["LE, steps"] == found["LE, evidence"], "which such a reference keeps"
    assert found["LE, gained"] == "+0.00 ± 0.00"
    assert 25 < float(found["PSNR, evidence"]) < 50
    save_untrained(path, fsaverage_model)
    with pytest.raises(SystemExit, match="start from learned, not the evidence"):
        steps.main()
