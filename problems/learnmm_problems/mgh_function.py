"""What is known about one function of the Moré-Garbow-Hillstrom set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


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
    least : callable
        ``n`` to the least value known, truncated to ten digits where it is not zero or rational;
        to None where none is published.
    minimizer : callable or None
        ``n`` to a point where it is taken, float64, where there is one in closed form.
    facts : Mapping
        What else is known, such as values of other local minima at the standard ``n``.
    """

    number: int
    name: str
    residuals: Callable[[Tensor], Tensor]
    start: Callable[[int], Tensor]
    unknowns: int
    sizes: range
    least: Callable[[int], float | None]
    minimizer: Callable[[int], Tensor] | None = None
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
        lambda n: torch.tensor(start, dtype=torch.float64),
        n,
        range(n, n + 1),
        lambda n: least,
        None if minimizer is None else (lambda n: torch.tensor(minimizer, dtype=torch.float64)),
        facts,
    )


def repeated(*entries: float) -> Callable[[int], Tensor]:
    """A point of any size that repeats some entries."""
    pattern = torch.tensor(entries, dtype=torch.float64)
    return lambda n: pattern.repeat(n // len(entries))


def count(like: Tensor, stop: int, start: int = 1) -> Tensor:
    """``start, ..., stop`` as numbers like those of a tensor."""
    return torch.arange(start, stop + 1, dtype=like.dtype, device=like.device)


def data(like: Tensor, text: str) -> Tensor:
    """Numbers of a table, like those of a tensor."""
    entries = [float(entry) for entry in text.split()]
    return torch.tensor(entries, dtype=like.dtype, device=like.device)
