"""Solvers that learn."""

from learnmm.learn.backward import Backward, Path
from learnmm.learn.implicit import implicit_gradient
from learnmm.learn.unrolled import Unrolled, UnrolledMM

__all__ = ["Backward", "Path", "Unrolled", "UnrolledMM", "implicit_gradient"]
