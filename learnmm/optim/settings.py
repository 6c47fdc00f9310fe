"""Which settings of a solve steps on a closure can follow."""

from __future__ import annotations

from learnmm.solve.projection import Projection
from learnmm.solve.settings import SolveSettings


def check_settings(settings: object) -> None:
    """Raise unless these are settings that a closure can follow."""
    if not isinstance(settings, SolveSettings):
        raise TypeError(f"settings must be SolveSettings, got {type(settings).__name__}")
    if settings.safeguard is None:
        raise ValueError("ProjectedMM verifies every step: safeguard must be a Safeguard, got None")
    if settings.projection not in (None, Projection()):
        raise ValueError(
            "ProjectedMM proposes no multipliers, so there is nothing to project: leave it out, "
            f"got {settings.projection}"
        )
    for name in ("rtol", "atol"):
        if getattr(settings, name) != 0:
            raise ValueError(
                f"ProjectedMM does not stop by losses: leave {name} out, got "
                f"{getattr(settings, name)}"
            )
