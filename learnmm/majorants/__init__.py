"""What bounds the curvature of an objective that does not know it."""

from learnmm.bound import AdaptiveMajorant, Bound, Majorant
from learnmm.majorants.default import DefaultMajorant
from learnmm.majorants.hessian import HessianMajorant, LanczosMajorant, PowerIterationMajorant
from learnmm.majorants.lipschitz import LipschitzMajorant
from learnmm.majorants.secant import SecantMajorant

__all__ = [
    "AdaptiveMajorant",
    "Bound",
    "DefaultMajorant",
    "HessianMajorant",
    "LanczosMajorant",
    "LipschitzMajorant",
    "Majorant",
    "PowerIterationMajorant",
    "SecantMajorant",
]
