"""Solvers that learn."""

from learnmm.unroll.backward import Backward, Path
from learnmm.unroll.implicit import implicit_gradient
from learnmm.unroll.unrolled import Unrolled, UnrolledMM

__all__ = ["Backward", "Path", "Unrolled", "UnrolledMM", "implicit_gradient"]
