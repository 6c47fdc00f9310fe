"""Settings of problems are refused where they are made, not where something is drawn."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import ClassVar

from learnmm.plain import is_integer, is_number, make_plain
from learnmm.registry import Problem

__all__ = ["CheckedProblem"]

POSITIVE = "blur", "edge", "gross", "level", "ridge", "size", "step", "weight", "width"
FRACTIONS = "active", "flipped", "known", "outliers"
SIGNED = "angle", "offset"


class CheckedProblem(Problem):
    """A problem whose settings are what their names and annotations say.

    Integers are sizes of at least 1, or a seed; numbers are finite and not negative, but for those
    that may have a sign, that are shares of one, or that something is divided by.
    """

    positive: ClassVar[tuple[str, ...]] = POSITIVE

    def __post_init__(self) -> None:
        """Raise ValueError unless every setting is such a number."""
        make_plain(self)  # type: ignore[arg-type]  # dataclasses are what derives from this
        for field in fields(self):  # type: ignore[arg-type]
            expected = self._expected(str(field.type), field.name)
            if expected:
                raise ValueError(
                    f"{type(self).__name__}: {field.name} must be {expected}, got "
                    f"{getattr(self, field.name)!r:.60}"
                )

    def _expected(self, kind: str, name: str) -> str:
        """What a setting should have been, or nothing if it is."""
        value = getattr(self, name)
        if kind == "bool":
            return "" if isinstance(value, bool) else "True or False"
        if kind == "int | None" and value is None:
            return ""
        if kind in ("int", "int | None"):
            least = 0 if name.endswith("seed") else 1
            whole = is_integer(value) and value >= least
            return "" if whole else f"an integer of at least {least}"
        if kind != "float":
            return ""
        if not is_number(value) or not math.isfinite(value):
            return "a finite number"
        if name in FRACTIONS:
            return "" if 0 <= value <= 1 else "from 0 to 1"
        if name == "condition":
            return "" if value >= 1 else "at least 1"
        if name in self.positive:
            return "" if value > 0 else "positive"
        return "" if value >= 0 or name in SIGNED else "zero or more"
