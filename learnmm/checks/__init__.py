"""The laws of the library as functions, for whoever writes a bound, an atom or a preconditioner.

Each raises :class:`LawViolation` and says which problem breaks the law, where, and by how much.
They are meant for float64 and for problems small enough to be looked at densely.
"""

from learnmm.checks.adjoint import assert_adjoint
from learnmm.checks.gradient import assert_gradient
from learnmm.checks.laws import LawViolation
from learnmm.checks.loop import assert_batch_independent, assert_descent, assert_preconditioner
from learnmm.checks.majorant import assert_majorant
from learnmm.checks.operators import assert_curvature, assert_interval
from learnmm.checks.unmodified import assert_unmodified

__all__ = [
    "LawViolation",
    "assert_adjoint",
    "assert_batch_independent",
    "assert_curvature",
    "assert_descent",
    "assert_gradient",
    "assert_interval",
    "assert_majorant",
    "assert_preconditioner",
    "assert_unmodified",
]
