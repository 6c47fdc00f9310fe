"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["MOST_SAMPLES", "MOST_STEPS", "Data", "Ico", "IcoOption"]

MOST_SAMPLES = 1_000_000
MOST_STEPS = 100_000  # the energies of all of them are kept


class Ico(StrEnum):
    """Subdivisions of the icosahedron that the boundary elements have."""

    ico2 = "2"
    ico3 = "3"
    ico4 = "4"
    ico5 = "5"


class Data(StrEnum):
    """Simulated data sets."""

    erp = "erp"
    nmm = "nmm"
    nmm_two = "nmm-two"


IcoOption = Annotated[
    Ico, typer.Option("--ico", help="Resolution of the boundary elements: 3 fast, 4 for results.")
]
