"""What a run leaves to one that is resumed from it, checked before anything changes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from learnmm.optim.ring import KEPT, NUMBERS
from learnmm.solve.record import Tally

MEMORY = {"level", "reach", "relaxation", "tally", "generator", "pairs", "moving"}
"""What is kept between calls."""

DAMAGED = "it is damaged, or of another version"

Place = list[int] | None
"""Of a parameter: bytes of an entry, whether it is complex, and the shape; None where it does not
move. Numbers alone, since loading takes text for a sequence."""


def check_entry(entry: Any, history: int, shapes: list[tuple[int, ...]]) -> None:
    """Raise unless a part of a state is one that `ProjectedMM` could have saved.

    Parameters
    ----------
    entry : Any
        What is kept with a parameter, a dictionary.
    history : int
        Pairs that the optimizer keeps.
    shapes : list of tuple of int
        Of its parameters, one after another.

    Raises
    ------
    ValueError
        If it comes from another optimizer, another version, another history or other parameters,
        lacks something, or holds what is no number.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"the state_dict keeps {type(entry).__name__} with a parameter: {DAMAGED}")
    foreign = entry.keys() - MEMORY
    if foreign:
        raise ValueError(
            "the state_dict is that of another optimizer: ProjectedMM keeps no "
            f"{', '.join(sorted(map(str, foreign)))}"
        )
    if not entry:
        return
    pairs, tally = entry.get("pairs", {}), entry.get("tally", {})
    if not (isinstance(pairs, dict) and isinstance(tally, dict)):
        raise ValueError(f"the state_dict has no dictionaries as pairs and tally: {DAMAGED}")
    products = pairs.get("products")
    kept = products.shape[1] if isinstance(products, Tensor) and products.dim() == 2 else 0
    if kept != history:
        raise ValueError(
            f"the state_dict is that of a run with history={kept}, this optimizer has "
            f"history={history}"
        )
    lacking = sorted(MEMORY - {"pairs"} - entry.keys())
    lacking += [f"pairs.{part}" for part in (KEPT if history else ()) if part not in pairs]
    lacking += [f"tally.{part}" for part in Tally._fields if part not in tally]
    if lacking:
        raise ValueError(f"the state_dict lacks {', '.join(lacking)}: {DAMAGED}")
    if wrong := _wrong_numbers(entry) + _wrong_pairs(pairs, entry["moving"], history, shapes):
        raise ValueError(f"the state_dict cannot be resumed from: {'; '.join(wrong)}: {DAMAGED}")


def _wrong_numbers(entry: dict[str, Any]) -> list[str]:
    """Complaints about what is kept beside the pairs."""
    wrong = []
    positive = {"relaxation": entry["relaxation"], "reach": entry["reach"]}
    if entry["level"] is not None:
        positive["level"] = entry["level"]
    wrong += [f"{n} is {v!r:.40}" for n, v in positive.items() if not (_is_number(v) and v > 0)]
    tally = {f"tally.{name}": value for name, value in entry["tally"].items()}
    wrong += [f"{n} is {v!r:.40}" for n, v in tally.items() if not _is_number(v)]
    try:
        saved = torch.frombuffer(bytearray(entry["generator"]), dtype=torch.uint8)
        torch.Generator().set_state(saved)
    except (TypeError, ValueError, RuntimeError):
        wrong.append("generator is no state of one")
    return wrong


def _wrong_pairs(
    pairs: dict[str, Any], moving: Any, history: int, shapes: list[tuple[int, ...]]
) -> list[str]:
    """Complaints about which parameters moved, and how."""
    if not (isinstance(moving, list) and len(moving) == len(shapes)):
        return [f"moving does not tell of {len(shapes)} parameters"]
    size = 0
    for place, shape in zip(moving, shapes, strict=True):
        if place is None:
            continue
        if not (isinstance(place, list) and len(place) >= 2 and tuple(place[2:]) == shape):
            return [f"a parameter of shape {shape} was {place!r:.40}"]
        size += math.prod(shape) * (2 if place[1] else 1)
    numbers = {name: pairs[name] for name in NUMBERS if name in pairs}
    wrong = [f"pairs.{n} is {v!r:.40}" for n, v in numbers.items() if not _is_number(v)]
    expected = {
        "moves": (1, history, size),
        "changes": (1, history, size),
        "inverse": (1, history, history),
        "products": (1, history),
    }
    for name, part in pairs.items():
        if name in NUMBERS:
            continue
        fits = isinstance(part, Tensor) and part.is_floating_point()
        if not (fits and part.shape == expected.get(name) and bool(part.isfinite().all())):
            wrong.append(f"pairs.{name} is not finite of shape {expected.get(name)}")
    if history and not wrong and not 0 <= pairs["newest"] < history:
        wrong.append(f"pairs.newest is {pairs['newest']!r:.40}")
    return wrong


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and not math.isnan(value)
