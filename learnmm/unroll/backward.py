"""How gradients of a solve are computed, and what is kept for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from learnmm.choices import chosen


class Path(StrEnum):
    """Which way gradients take."""

    UNROLL = "unroll"
    """Through every step."""
    TRUNCATED = "truncated"
    """Through the last steps; those before run without a graph."""
    CHECKPOINT = "checkpoint"
    """Through every step, recomputing each once (beyond 16 steps twice), so that memory holds the
    states of at most 16 or ``2 sqrt(steps)`` steps, the iterates, and what one step needs."""
    IMPLICIT = "implicit"
    """Of the stationary point that the last iterate is taken for (see `implicit_gradient`),
    whatever path led there; only the energy then gets gradients."""


@dataclass(frozen=True)
class Backward:
    """How gradients of a solve are computed.

    Parameters
    ----------
    path : {"unroll", "truncated", "checkpoint", "implicit"}
        See :class:`~learnmm.unroll.Path`.
    window : int, optional
        How many steps "truncated" goes back.
    keep_iterates : bool
        Whether `Unrolled.iterates` holds all that the gradient passes through. False keeps the last
        alone, for outer losses that need no other.

    Raises
    ------
    TypeError, ValueError
        For a path that there is not, or a window without one.

    Examples
    --------
    >>> Backward("truncated", window=3).window
    3
    """

    path: Path | str = Path.UNROLL
    window: int | None = None
    keep_iterates: bool = True

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        object.__setattr__(self, "path", chosen(Path, self.path, "backward"))
        if (self.window is None) == (self.path is Path.TRUNCATED):
            raise ValueError(
                f"window goes with 'truncated', got {str(self.path)!r} and {self.window}"
            )
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")
        if not isinstance(self.keep_iterates, bool):
            raise TypeError(f"keep_iterates must be True or False, got {self.keep_iterates!r}")

    def free(self, steps: int) -> int:
        """How many of some steps run without a graph."""
        if self.path is Path.IMPLICIT:
            return steps
        return 0 if self.window is None else max(0, steps - self.window)
