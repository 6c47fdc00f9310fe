"""What is known about one function of the Moré-Garbow-Hillstrom set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """What is known about the least value of a function of any size.

    Attributes
    ----------
    least : callable
        ``n`` to the least value known, truncated to ten digits where it is not zero or rational;
        to None where none is published.
    minimizer : callable or None
        ``n`` to a point where it is taken, float64, where there is one in closed form.
    """

    least: Callable[[int], float | None]
    minimizer: Callable[[int], Tensor] | None = None


@dataclass(frozen=True)
class Function:
    """``f(x) = sum_i r_i(x)^2`` with its standard start and its least value.

    Attributes
    ----------
    number : int
        In the paper.
    name : str
        In this library.
    residuals : callable
        ``r``, ``(B, n) -> (B, m)``, in the dtype of ``x``.
    start : callable
        ``n`` to the standard start, float64.
    unknowns : int
        Standard ``n``.
    sizes : range
        Every ``n`` there is.
    solution : Solution
        Least value, and where it is taken.
    facts : Mapping
        What else is known, such as values of other local minima at the standard ``n``.
    """

    number: int
    name: str
    residuals: Callable[[Tensor], Tensor]
    start: Callable[[int], Tensor]
    unknowns: int
    sizes: range
    solution: Solution
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)``, shape ``(B,)``."""
        return self.residuals(x).square().sum(1)


def fixed(
    number: int,
    name: str,
    residuals: Callable[[Tensor], Tensor],
    start: Sequence[float],
    least: float = 0.0,
    minimizer: Sequence[float] | None = None,
    **facts: Any,
) -> Function:
    """A function of one size."""
    n = len(start)
    return Function(
        number,
        name,
        residuals,
        repeated(*start),
        n,
        range(n, n + 1),
        Solution(lambda n: least, None if minimizer is None else repeated(*minimizer)),
        facts,
    )


def repeated(*entries: float) -> Callable[[int], Tensor]:
    """A point of any size that repeats some entries."""
    pattern = torch.tensor(entries, dtype=torch.float64)
    return lambda n: pattern.repeat(n // len(entries))


def columns(x: Tensor) -> list[Tensor]:
    """Unknowns one by one, ``(B, 1)`` each."""
    split: list[Tensor] = list(x.split(1, 1))
    return split


def count(like: Tensor, stop: int, start: int = 1) -> Tensor:
    """``start, ..., stop`` as numbers like those of a tensor."""
    return torch.arange(start, stop + 1, dtype=like.dtype, device=like.device)


def data(like: Tensor, text: str) -> Tensor:
    """Numbers of a table, like those of a tensor."""
    entries = [float(entry) for entry in text.split()]
    return torch.tensor(entries, dtype=like.dtype, device=like.device)
