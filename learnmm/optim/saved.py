"""What a run leaves to one that is resumed from it, checked before anything changes."""

from __future__ import annotations

from typing import Any

from learnmm.optim.ring import KEPT
from learnmm.solve.record import Tally

MEMORY = {"level", "reach", "relaxation", "tally", "generator", "pairs", "moving"}
"""What is kept between calls."""


def check_entry(entry: dict[str, Any], history: int) -> None:
    """Raise unless a part of a state is one that `ProjectedMM` could have saved.

    Parameters
    ----------
    entry : dict
        What is kept with a parameter.
    history : int
        Pairs that the optimizer keeps.

    Raises
    ------
    ValueError
        If it comes from another optimizer, another version or another history, or lacks something.
    """
    foreign = entry.keys() - MEMORY
    if foreign:
        raise ValueError(
            "the state_dict is that of another optimizer: ProjectedMM keeps no "
            f"{', '.join(sorted(foreign))}"
        )
    if not entry:
        return
    kept = entry["pairs"]["products"].shape[1] if "pairs" in entry else 0
    if kept != history:
        raise ValueError(
            f"the state_dict is that of a run with history={kept}, this optimizer has "
            f"history={history}"
        )
    parts = {"pairs": KEPT if history else (), "tally": Tally._fields}
    lacking = sorted(MEMORY - {"pairs"} - entry.keys())
    for name, fields in parts.items():
        lacking += [f"{name}.{part}" for part in fields if part not in entry.get(name, {})]
    if lacking:
        raise ValueError(
            f"the state_dict lacks {', '.join(lacking)}: it is damaged, or of another version"
        )
