"""The command localize-mi: a table, files, and going on after a kill."""

from __future__ import annotations

import csv
import json
import re

import pytest
from typer.testing import CliRunner

from eeg_stimulation import RUNS, eeg, write_folder
from learnmm_esi.cli.app import app

FEW = ("--method", "sLORETA", "--channels", 24, "--channels", 16)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["localize-mi", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def changeable(stimulation_forward, tmp_path):
    return write_folder(tmp_path / "data", stimulation_forward)


def test_it_tells_errors_and_writes_them(stimulation_folder, tmp_path):
    output = run(stimulation_folder, *FEW, "--out", tmp_path)
    for channels in ("24", "16"):
        assert re.search(rf"sLORETA +{channels} +4 +2.0 +2.0 +2.0 +2.0 +2.0 +0\s", output)
    assert "sLORETA, setting (subjects): snr 3, peak (3)" in output
    assert "4/4" in output
    content = json.loads((tmp_path / "localize-mi.json").read_text())
    assert [one["channels"] for one in content["summary"]] == [24, 16]
    assert len(content["trials"]) == 4 * 2 * 9
    assert {one["setting"] for one in content["chosen"]} == {"snr 3, peak"}
    with (tmp_path / "localize-mi.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["subject"], row["run"], row["channels"]) for row in rows[:3]] == [
        ("sub-01", "run-01", "24"),
        ("sub-01", "run-01", "16"),
        ("sub-01", "run-02", "24"),
    ]
    assert {row["setting"] for row in rows} == {"snr 3, peak"}
    assert float(rows[0]["error"]) == float(rows[0]["floor"]) == pytest.approx(2.0, abs=1e-3)


def test_it_goes_on_where_it_was_stopped(changeable, tmp_path):
    target, file = tmp_path / "out", eeg(changeable, RUNS[2], "epochs.npy")
    good = file.read_bytes()
    file.write_bytes(b"stopped")
    assert "Error: " in run(changeable, *FEW, "--out", target, code=1)
    content = json.loads((target / "localize-mi.json").read_text())
    assert {one["subject"] for one in content["trials"]} == {"sub-01"}
    assert "summary" not in content
    for one in content["trials"]:
        one["error"] = 77.0  # a mark of what is kept
    (target / "localize-mi.json").write_text(json.dumps(content))
    file.write_bytes(good)
    run(changeable, *FEW, "--out", target)
    trials = json.loads((target / "localize-mi.json").read_text())["trials"]
    assert {one["subject"] for one in trials if one["error"] == 77.0} == {"sub-01"}
    assert {one["subject"] for one in trials if one["error"] < 3.0} == {"sub-02", "sub-03"}
    assert len(trials) == 4 * 2 * 9
    run(changeable, *FEW, "--out", target, "--no-resume")
    trials = json.loads((target / "localize-mi.json").read_text())["trials"]
    assert all(one["error"] < 3.0 for one in trials)


def test_runs_that_are_gone_are_forgotten(changeable, tmp_path):
    run(changeable, *FEW, "--out", tmp_path)
    for made in RUNS[:3]:
        eeg(changeable, made, "epochs.npy").unlink()
    output = run(changeable, *FEW, "--out", tmp_path)
    assert re.search(r"sLORETA +24 +1 ", output)
    assert "There is one subject, nobody to choose settings on" in output


def test_files_of_another_protocol_or_none_are_not_gone_on_with(stimulation_folder, tmp_path):
    run(stimulation_folder, *FEW, "--out", tmp_path)
    output = run(stimulation_folder, *FEW, "--sources", 40, "--out", tmp_path, code=1)
    assert "another protocol: sources is 2000 in the file, expected 40" in output
    assert "start anew with --no-resume" in output
    path = tmp_path / "localize-mi.json"
    content = json.loads(path.read_text())
    for wrong in ("{", "[]", "{}", '{"protocol": {}, "trials": [{"subject": 1}]}', "{}" * 9):
        path.write_text(wrong)
        output = run(stimulation_folder, *FEW, "--out", tmp_path, code=1)
        assert "holds no trials that can be gone on with" in output
    content["trials"][0]["error"] = "far"
    path.write_text(json.dumps(content))
    assert "error of a trial is 'far'" in run(stimulation_folder, *FEW, "--out", tmp_path, code=1)


def test_what_lacks_is_said(tmp_path):
    assert "has no epochs: expected files sub-*_epochs.npy" in run(tmp_path, code=1)
    assert "methods are sLORETA, sLORETA-free, MM" in run(tmp_path, "--method", "x", code=1)
