"""Conditions on tensors, where values may be hidden."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["holds", "known"]


def holds(condition: Tensor) -> bool:
    """Truth of a condition that guards against misuse; True inside `torch.func.vmap`.

    What vmap hides goes unchecked: better that than solvers that cannot be mapped over settings.

    Parameters
    ----------
    condition : Tensor of bool
        One element.

    Examples
    --------
    >>> import torch
    >>> holds(torch.tensor(False))
    False
    """
    return known(condition) is not False


def known(condition: Tensor) -> bool | None:
    """Truth of a condition, by which work may be spared; None where `vmap` or `compile` hide it.

    Parameters
    ----------
    condition : Tensor of bool
        One element.
    """
    if torch.compiler.is_compiling():
        return None
    try:
        return bool(condition)
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        return None
