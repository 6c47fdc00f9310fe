"""What a bound promises."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Kind"]


class Kind(IntEnum):
    """What a bound promises, from strongest to weakest.

    A sum is as strong as its weakest part, hence the order: ``max(kinds)`` is the kind of a sum.
    """

    GLOBAL = 0
    """``f(z) <= Q(z; x)`` for every ``z`` of the domain."""
    REGION = 1
    """The same for ``z`` within ``radius`` of ``x``; steps that rest on it are cut to that."""
    POINTWISE = 2
    """Dominates the Hessian at ``x``; says nothing about a finite step."""
    PROBABLE = 3
    """Pointwise, except with a stated failure probability."""
    ESTIMATE = 4
    """A number that is usually close; nothing is promised."""
