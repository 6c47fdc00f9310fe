"""Pages of results: what they were made with, their tables, and how they are written."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch

from learnmm.hardware import hardware
from learnmm.storage import write_file

RESULTS = Path("benchmarks/results")


def arguments(program: str, description: str | None) -> argparse.ArgumentParser:
    """Arguments of a benchmark: where its page goes, to begin with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=RESULTS / f"{program}.md")
    return parser


def made_by(program: str, seed: object) -> str:
    """What to type for a page, and what it was computed with."""
    return f"`python -m benchmarks.{program}`, seed {seed}, torch {torch.__version__}, {hardware()}"


def line(cells: Iterable[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def table(head: Iterable[str], rows: Iterable[str]) -> list[str]:
    """Lines of a table, whose rows are lines already, and an empty one."""
    head = list(head)
    return [line(head), line(["---"] * len(head)), *rows, ""]


def write(lines: Iterable[str], output: Path) -> None:
    """Print a page and write it down."""
    page = "\n".join(lines)
    print(page)
    write_file(output, page.encode())
