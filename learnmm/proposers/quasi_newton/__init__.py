"""A quasi-Newton method whose factors are learned, once for all problems."""

from learnmm.proposers.quasi_newton.proposer import CONFIG, PRETRAINED, LearnedQuasiNewton
from learnmm.proposers.quasi_newton.rule import Rule
from learnmm.storage import Pretrained

__all__ = ["LearnedQuasiNewton", "Rule"]

WEIGHTS = Pretrained(
    LearnedQuasiNewton.load,
    lambda config: config.get("proposer") == CONFIG["proposer"],
    PRETRAINED,
)
