"""The comparison with invertmeeg: data sets, ranks, and what is said where it is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from benchmarks.eeg_invertmeeg import __main__ as program
from benchmarks.eeg_invertmeeg import data, ranks

SMALL = data.Size(sources=64, ico=2, electrodes=20, times=8)


pytestmark = pytest.mark.usefixtures("kept_heads")


@pytest.mark.parametrize("name", list(data.DATA_SETS))
def test_data_sets_hold_what_they_name(name: str) -> None:
    chosen = data.DATA_SETS[name]
    group = data.recordings(name, 12, seed=0, size=SMALL)
    counts = (group.seed_sources >= 0).sum(axis=1)
    assert chosen.patches[0] <= counts.min()
    assert counts.max() <= chosen.patches[1]
    assert chosen.snr_db[0] <= group.snr_db.min() <= group.snr_db.max() <= chosen.snr_db[1]
    if chosen.hops[1] == 0:
        assert ((group.maps > 0).sum(axis=(1, 2)) == counts).all()


def test_files_hold_recordings_and_a_gain_of_full_rank(tmp_path: Path) -> None:
    group = data.recordings("focal", 3, seed=0, size=SMALL)
    data.ask(tmp_path, {"focal": group})
    forward = mne.read_forward_solution(tmp_path / "head-fwd.fif", verbose="error")
    gain = group.model.leadfield[:-1]
    np.testing.assert_allclose(forward["sol"]["data"], gain, rtol=1e-5, atol=1e-5)
    assert np.linalg.matrix_rank(gain) == len(gain)
    with np.load(tmp_path / "focal.question.npz") as question:
        sensors = question["sensors"]
    np.testing.assert_allclose(
        sensors / np.abs(sensors).max(),
        group.sensors[:, :-1] / np.abs(group.sensors[:, :-1]).max(),
        rtol=1e-6,
    )


def numbers(value: float) -> dict[str, Any]:
    return {
        metric: dict.fromkeys(("median", "mean", "worst"), 1 - value if rises else value)
        for metric, rises in (
            ("localization_error", False),
            ("transport", False),
            ("dispersion", False),
            ("average_precision", True),
            ("auc", True),
            ("psnr", True),
        )
    }


def test_ranks_are_averages_with_the_best_first() -> None:
    results = {
        "worse": {"a": numbers(0.5), "b": numbers(0.5)},
        "best": {"a": numbers(0.1), "b": numbers(0.5)},
        "away": {"a": {"cannot": "it is away"}, "b": numbers(0.9)},
    }
    found = ranks.ranks(results, ["a", "b"])
    assert found == {
        "worse": {"a": 2.0, "b": 1.5, "all": 1.75},
        "best": {"a": 1.0, "b": 1.5, "all": 1.25},
        "away": {"a": 3.0, "b": 3.0, "all": 3.0},
    }
    lines = ranks.page(results, ["a", "b"], {"Command": "none"})
    first = lines.index("| method | a | b | all |") + 2
    assert lines[first] == "| best | 1.0 | 1.5 | 1.2 |"
    assert "- away cannot run on a: it is away" in lines


def test_a_run_without_invertmeeg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "page.md"
    given = ["--samples", "2", "--solvers", "--methods", "MNE", "sLORETA"]
    program.main([*given, "--output", str(output)], SMALL)
    assert capsys.readouterr().out.strip() == output.read_text().strip()
    found = json.loads(output.with_suffix(".json").read_text())["methods"]
    assert set(found) == {"MNE", "sLORETA"}
    assert set(found["MNE"]) == set(data.DATA_SETS)


def test_environments_without_invertmeeg_are_told_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.arguments(["--python", str(tmp_path / "python")])
    assert "make bench-invertmeeg makes it" in capsys.readouterr().err
    run = subprocess.run(
        [sys.executable, program.SCRIPT, tmp_path, "champagne"], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "needs an environment with invertmeeg (make bench-invertmeeg)" in run.stderr
