"""Settings that cannot work together, refused before the first iteration."""

from __future__ import annotations

from learnmm.proposers.base import Direction, LearnedDirection
from learnmm.solve.projection import Projection
from learnmm.solve.safeguard import Relaxation, Safeguard


def check_settings(
    preconditioner: object,
    projection: Projection | None,
    safeguard: Safeguard | None,
    relaxation: Relaxation | None,
) -> None:
    """Raise if settings that are not the defaults would be dropped."""
    name = type(preconditioner).__name__
    if isinstance(preconditioner, Direction | LearnedDirection) and projection not in (
        None,
        Projection(),
    ):
        raise ValueError(
            f"projection confines multipliers, but {name} proposes whole steps, which have no "
            f"interval: leave it out, got {projection}"
        )
    if relaxation in (None, Relaxation()):
        return
    if isinstance(preconditioner, Direction):
        raise ValueError(
            f"relaxation scales the bound for the majorant's own steps, but {name} makes the "
            f"steps: leave it out, or set preconditioner=None, got {relaxation}"
        )
    if safeguard is None:
        raise ValueError(
            f"relaxation needs the safeguard, which is None: leave it out, got {relaxation}"
        )
