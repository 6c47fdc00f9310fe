"""The page of the GPU: it says where there was none, and what did not run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.batches import rosenbrock, starts, steps
from benchmarks.gpu.timing import seconds


def run(monkeypatch: pytest.MonkeyPatch, output: Path, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["gpu", "--output", str(output), *arguments])
    program.main()
    return output.read_text(encoding="utf-8")


def test_without_a_device_the_page_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "There was none" in run(monkeypatch, tmp_path / "gpu.md")


def test_a_part_that_fails_or_comes_too_late_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> list[str]:
        raise RuntimeError("no memory")

    for part in ("laws", "batches", "steps"):
        monkeypatch.setattr(program, part, broken)
    monkeypatch.setattr(program, "training", lambda *_: ["| done |", ""])
    page = run(monkeypatch, tmp_path / "gpu.md", "--device", "cpu")
    assert page.count("Did not run: RuntimeError: no memory") == 3
    assert "| done |" in page
    monkeypatch.setattr(program, "LIMIT", -1.0)
    assert run(monkeypatch, tmp_path / "gpu.md", "--device", "cpu").count("No time was left.") == 4


def test_a_row_of_steps_is_what_it_divides() -> None:
    rows = steps("cpu", (3,), 1)[2:5]
    for row in rows:
        step, alone, ratio = (float(cell) for cell in re.findall(r"[\d.]+", row)[2:])
        half = 0.005  # of the last digit that is printed of both; of the ratio it is 0.05
        assert (step - half) / (alone + half) - 0.051 <= ratio
        assert ratio <= (step + half) / (alone - half) + 0.051


def test_starts_are_those_of_the_function() -> None:
    x0 = starts(4, 10, "cpu")
    assert x0.shape == (4, 10)
    assert torch.equal(rosenbrock(torch.ones(1, 10)), torch.zeros(1))
    assert seconds(lambda: None, "cpu", 1) >= 0
