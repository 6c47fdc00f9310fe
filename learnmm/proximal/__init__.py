"""Penalties: what is added to a smooth objective, and minimized with it exactly in each step."""

from learnmm.proximal.base import Penalty, separable_metric
from learnmm.proximal.box import Box, NonNegative, bounded, limit_of
from learnmm.proximal.group import GroupL2
from learnmm.proximal.l1 import L1
from learnmm.proximal.penalized import Penalized, apart
from learnmm.proximal.total_variation import TotalVariation
from learnmm.proximal.within import Within

__all__ = [
    "L1",
    "Box",
    "GroupL2",
    "NonNegative",
    "Penalized",
    "Penalty",
    "TotalVariation",
    "Within",
    "apart",
    "bounded",
    "limit_of",
    "separable_metric",
]
