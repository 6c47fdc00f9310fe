"""Which parameters move, at which rates; what cannot be moved is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from learnmm.plain import number
from learnmm.solve.unknowns import WIDTH

ROUNDED = 1e-9
"""By how much a rate of 1 may have grown: schedulers multiply and divide it at every step."""


class Sorted(NamedTuple):
    """Parameters of all groups.

    Attributes
    ----------
    moving : dict of Tensor to float
        What moves, with learning rates in (0, 1].
    frozen : list of Tensor
        What has no learning rate, or takes no gradient.
    """

    moving: dict[Tensor, float]
    frozen: list[Tensor]


def sort(groups: Iterable[dict[str, Any]]) -> Sorted:
    """Tell parameters that move from those that stay.

    Raises
    ------
    TypeError, ValueError
        For rates and parameters that cannot be used.
    """
    moving: dict[Tensor, float] = {}
    frozen: list[Tensor] = []
    for group in groups:
        rate = _number(group["lr"])
        if 1 < rate <= 1 + ROUNDED:
            rate = 1.0
        if not 0 <= rate <= 1:
            raise ValueError(
                f"lr is a factor on the step and must be in [0, 1], got {rate}: a longer step "
                "than the curvature allows has no guarantee"
            )
        for p in group["params"]:
            if rate > 0 and p.requires_grad:
                moving[p] = rate
            else:
                frozen.append(p)
    _check(moving.keys() | set(frozen))
    return Sorted(moving, frozen)


def require_entries(parameters: Iterable[Tensor]) -> None:
    """Raise unless some parameter has an entry."""
    shapes = [tuple(p.shape) for p in parameters]
    if not any(0 not in shape for shape in shapes):
        raise ValueError(f"ProjectedMM needs parameters with entries, got shapes {shapes[:10]}")


def _check(parameters: Iterable[Tensor]) -> None:
    kinds = set()
    for p in parameters:
        if isinstance(p, UninitializedParameter | UninitializedBuffer):
            raise ValueError(
                "a parameter of a lazy module has no shape yet: call the module once before "
                "ProjectedMM gets its parameters"
            )
        if p.layout != torch.strided:
            raise TypeError(f"parameters must be dense, got {p.layout}")
        if p.dtype not in WIDTH:
            raise TypeError(
                "parameters must be float32 or float64, or complex with parts of these, got "
                f"{p.dtype}"
            )
        kinds.add((WIDTH[p.dtype], p.device))
    if len(kinds) > 1:
        found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise ValueError(f"parameters must share one dtype and one device, got {found}")


def _number(lr: Any) -> float:
    if not isinstance(lr, Tensor):
        return float(number("lr", lr))
    try:
        return float(lr)
    except (ValueError, RuntimeError) as error:  # more than one, or complex
        raise TypeError(f"lr must be a number, got {lr!r}") from error
