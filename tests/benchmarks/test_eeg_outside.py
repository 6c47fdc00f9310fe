"""Tables of EEG outside its training: cells are what they say, and a run from end to end."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.eeg_outside import __main__ as program
from benchmarks.eeg_outside import cells, methods, page, scores
from benchmarks.eeg_outside.cells import Cell
from learnmm_esi.metrics import SeveralMetrics

METRICS = scores.METRICS


pytestmark = pytest.mark.usefixtures("kept_heads")


def test_a_small_run_writes_tables_and_goes_on_from_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results" / "eeg.md"
    given = ["--quick", "--raw", str(tmp_path), "--output", str(output), "--methods"]
    given += ["sLORETA", "LCMV", "learned"]
    program.main(given)
    text = output.read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    for title in page.TITLES.values():
        assert f"### {title}" in text
    found = json.loads(output.with_suffix(".json").read_text())
    assert [cell["electrodes"] for cell in found["cells"]] == [19, 24]
    for cell in found["cells"]:
        for name in ("sLORETA", "LCMV"):
            assert cell["methods"][name]["samples"] == 4, name
        # The shipped weights are for other sources than those of the small head: that is told.
        assert "sources" in cell["methods"]["learned"]["cannot"]
    assert "learned cannot run in 2 rows" in text

    def again(_: Cell, left: dict[str, Any], *__: Any) -> None:
        raise AssertionError(f"measured again: {list(left)}")

    monkeypatch.setattr(program, "scores", again)
    program.main(given)
    lines = [line for line in text.splitlines() if "Time of the run" not in line]
    assert [s for s in output.read_text().splitlines() if "Time of the run" not in s] == lines
    with pytest.raises(AssertionError, match=r"\['dSPM'\]"):
        program.main([*given, "dSPM"])


def test_cells_hold_what_they_name() -> None:
    size = cells.QUICK_SIZE
    cell = Cell(24, 2, snr_db=10.0)
    groups = list(cells.recordings(cell, 3, seed=1, size=size))
    assert sum(len(group.sensors) for group in groups) == 3
    for group in groups:
        assert group.sensors.shape[1] == len(group.model.leadfield) == 24
        assert group.sources.shape == (len(group.sensors), size.sources, group.timing.times)
        assert ((group.seed_sources >= 0).sum(axis=1) == 2).all()
        assert (group.snr_db == 10.0).all()
        assert (group.background == 0.0).all()
        # What the template sees of the truth is the recording, but for noise and jitter.
        clean = group.model.leadfield @ group.sources
        scale = (clean * group.sensors).sum((1, 2)) / (clean**2).sum((1, 2))
        left = ((group.sensors - scale[:, None, None] * clean) ** 2).sum((1, 2))
        assert (left < 0.3 * (group.sensors**2).sum((1, 2))).all()
    again = list(cells.recordings(cell, 3, seed=1, size=size))
    for one, other in zip(groups, again, strict=True):
        assert np.array_equal(one.sensors, other.sensors)


@pytest.mark.parametrize("grid", list(cells.GRIDS))
def test_every_cell_of_a_grid_is_one_that_can_be_simulated(grid: str) -> None:
    found = [cell for some in cells.GRIDS[grid]().values() for cell in some]
    assert len({cell.name for cell in found}) == len(set(found))
    assert {cell.head for cell in found} <= set(cells.HEADS)
    assert {cell.noise for cell in found} <= set(cells.NOISES)
    if grid == "full":
        assert len(found) == 5 * 4 * 5 * len(cells.HEADS) * len(cells.NOISES)


def test_the_truth_wins_and_what_refuses_is_told() -> None:
    cell, size = Cell(19), cells.QUICK_SIZE
    groups = list(cells.recordings(cell, 4, 3, size))

    def prophet(_: Any) -> methods.Estimate:
        def estimate(sensors: np.ndarray, _: float) -> methods.Estimates:
            (group,) = [g for g in groups if np.array_equal(g.sensors, sensors)]
            return methods.Estimates(group.sources, np.arange(len(sensors)) == 0)

        return estimate

    def refusing(_: Any) -> methods.Estimate:
        raise RuntimeError("not today")

    found = scores.scores(cell, {"prophet": prophet, "refusing": refusing}, 4, 3, size)
    assert found["refusing"] == {"cannot": "RuntimeError: not today"}
    for metric, best in {"transport": 0.0, "dispersion": 0.0, "auc": 1.0}.items():
        assert found["prophet"][metric] == {"median": best, "mean": best, "worst": best}
    assert found["prophet"]["fell_back"] == 0.25


def test_a_summary_tells_the_worst_tenth_from_the_right_side() -> None:
    values = np.arange(11.0)
    numbers = scores.summary(SeveralMetrics(*[values] * len(METRICS)), [])
    assert numbers["transport"] == {"median": 5.0, "mean": 5.0, "worst": 9.0}
    assert numbers["auc"] == {"median": 5.0, "mean": 5.0, "worst": 1.0}
    assert "fell_back" not in numbers


def numbers(**means: float) -> dict[str, Any]:
    return {
        metric: {key: means.get(metric, 1.0) for key in ("median", "mean", "worst")}
        for metric in METRICS
    }


@pytest.mark.parametrize(
    ("error", "precision", "lost", "mark"),
    [
        (1.0, 1.0, (False, False), "1.00"),
        (1.2, 0.8, (True, True), "1.20 **lost**"),
        (0.5, 1.5, (False, False), "0.50 ✓"),
    ],
)
def test_rows_are_marked(
    error: float, precision: float, lost: tuple[bool, bool], mark: str
) -> None:
    row = {
        methods.BASELINE: numbers(),
        methods.LEARNED: numbers(localization_error=error, average_precision=precision),
    }
    assert page.lost(row, "localization_error") is lost[0]
    assert page.lost(row, "average_precision") is lost[1]
    cell = Cell()
    (line,) = page.rows([cell], list(row), {cell.name: row}, "localization_error")
    assert line.endswith(f"| {mark} | – |")


def test_rows_without_both_methods_have_no_ratio() -> None:
    cell = Cell()
    row = {methods.BASELINE: numbers(), methods.LEARNED: {"cannot": "it is away"}}
    (line,) = page.rows([cell], list(row), {cell.name: row}, "transport")
    assert line == f"| {cell.name} | 1.0 | – | – |"
    assert "it is away" in page.reasons([cell.name], {cell.name: row})[0]
    told = page.overview([cell.name], list(row), {cell.name: row})
    assert "| Localization error, mm | 0 of 0 |" in told


def test_guidance_is_told_by_rows_that_it_betters() -> None:
    cells = [Cell(), Cell(19)]
    rows = {
        cell.name: {
            methods.UNLEARNED: numbers(),
            methods.GUIDED: numbers(**dict.fromkeys(METRICS, value)),
        }
        for cell, value in zip(cells, (0.5, 1.0), strict=True)
    }
    names = list(rows)
    told = page.guidance(names, [methods.UNLEARNED, methods.GUIDED], rows)
    assert "| Localization error, mm | 1 of 2 | 1.0 | 0.8 |" in told
    assert "| PSNR, dB | 0 of 2 | 1.0 | 0.8 |" in told  # where less is worse
    assert page.guidance(names, [methods.GUIDED], rows) == []
    away = {name: {**row, methods.GUIDED: {"cannot": "it is away"}} for name, row in rows.items()}
    assert page.guidance(names, list(away[names[0]]), away) == []


def test_arguments_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for given, message in (
        (["--samples", "0"], "--samples must be positive"),
        (["--seed", "-1"], "--seed not negative"),
        (["--sections", "Hats"], "there are no sections ['Hats'] in this grid"),
    ):
        with pytest.raises(SystemExit):
            program.arguments(given)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "chosen",
    [
        "--grid star --samples 8",
        "--grid star --samples 8 --methods MNE 'learned, start alone' --sections Caps",
    ],
)
def test_a_page_says_what_to_type_for_it(chosen: str) -> None:
    settings = program.arguments(shlex.split(chosen))
    assert program.command(settings) == f"python -m benchmarks.eeg_outside {chosen} --seed 2026"
