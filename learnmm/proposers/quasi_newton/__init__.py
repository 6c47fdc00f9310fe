"""A quasi-Newton method whose factors are learned, once for all problems."""

from learnmm.proposers.quasi_newton.proposer import LearnedQuasiNewton
from learnmm.proposers.quasi_newton.rule import Rule

__all__ = ["LearnedQuasiNewton", "Rule"]
