"""Why a problem stopped."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Why a problem stopped. ``Status(code).message`` is a sentence."""

    RUNNING = 0
    GRADIENT = 1
    DECREASE = 2
    PRECISION = 3
    MAX_ITER = 4
    STALLED = 5
    BAD_BOUND = 6
    NON_FINITE = 7
    STOPPED = 8
    UNBOUNDED = 9

    @property
    def message(self) -> str:
        """One sentence a user understands."""
        return _MESSAGES[self]

    @property
    def success(self) -> bool:
        """Whether a tolerance, or what the dtype can tell apart, was reached."""
        return self in (Status.GRADIENT, Status.DECREASE, Status.PRECISION)


_MESSAGES = {
    Status.RUNNING: "The problem is still running.",
    Status.GRADIENT: "The gradient has vanished, within gtol.",
    Status.DECREASE: "The last step lowered the objective by at most atol + rtol * |f|.",
    Status.PRECISION: (
        "No step promises more than the rounding error of the objective: the best that is known "
        "was tried and lowered nothing, and the gradient at its end promises no more."
    ),
    Status.MAX_ITER: "The iteration limit was reached.",
    Status.STALLED: "No trial of the safeguard lowered the objective; the iterate was kept.",
    Status.BAD_BOUND: "The majorant returned a curvature that is not finite and positive.",
    Status.NON_FINITE: "The objective or its gradient is not finite where it was needed.",
    Status.STOPPED: "The callback asked to stop.",
    Status.UNBOUNDED: "The objective falls without end, as far as the dtype reaches.",
}
