"""Conditions on tensors that guard against misuse, where values may be hidden."""

from __future__ import annotations

from torch import Tensor


def holds(condition: Tensor) -> bool:
    """Truth of a condition; True inside `torch.func.vmap`, where a tensor has no single value.

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
    try:
        return bool(condition)
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        return True
