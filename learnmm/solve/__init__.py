"""The loop: settings, state, steps, and what a run reports."""

from learnmm.solve.certificate import Certificate
from learnmm.solve.minimizing import minimize
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.projection import Projection
from learnmm.solve.record import StepInfo, Tally
from learnmm.solve.result import Result
from learnmm.solve.safeguard import Relaxation, Safeguard
from learnmm.solve.settings import SolveSettings
from learnmm.solve.state import State
from learnmm.solve.status import Status

__all__ = [
    "Certificate",
    "ProjectedMMOptimizer",
    "Projection",
    "Relaxation",
    "Result",
    "Safeguard",
    "SolveSettings",
    "State",
    "Status",
    "StepInfo",
    "Tally",
    "minimize",
]
