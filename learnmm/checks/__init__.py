"""The laws of the library as functions, for whoever writes a bound, an atom or a proposer.

Each raises :class:`LawViolation` and says which problem breaks the law, where, and by how much.
They are meant for float64 and for problems small enough to be looked at densely; those that hold
at any size and in every precision say so.
"""

from learnmm.checks.adjoint import assert_adjoint
from learnmm.checks.dominates import assert_dominates
from learnmm.checks.gradient import assert_gradient
from learnmm.checks.independent import assert_independent
from learnmm.checks.laws import LawViolation
from learnmm.checks.loop import assert_batch_independent, assert_descent
from learnmm.checks.majorant import assert_majorant
from learnmm.checks.operators import assert_curvature, assert_interval
from learnmm.checks.penalty import assert_penalty
from learnmm.checks.problem import assert_problem
from learnmm.checks.proposer import assert_proposer
from learnmm.checks.rays import assert_rays
from learnmm.checks.unmodified import assert_unmodified

__all__ = [
    "LawViolation",
    "assert_adjoint",
    "assert_batch_independent",
    "assert_curvature",
    "assert_descent",
    "assert_dominates",
    "assert_gradient",
    "assert_independent",
    "assert_interval",
    "assert_majorant",
    "assert_penalty",
    "assert_problem",
    "assert_proposer",
    "assert_rays",
    "assert_unmodified",
]
