"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["MOST_SAMPLES", "MOST_STEPS", "Data", "Ico", "IcoOption"]

MOST_SAMPLES = 1_000_000
MOST_STEPS = 100_000  # the energies of all of them are kept

Ico = StrEnum("Ico", {f"ico{n}": str(n) for n in (2, 3, 4, 5)})
Data = StrEnum("Data", ["erp", "nmm"])

IcoOption = Annotated[
    Ico, typer.Option("--ico", help="Resolution of the boundary elements: 3 fast, 4 for results.")
]
