"""What proposes steps: multipliers of the majorant's own, or whole ones."""

from learnmm.proposers.base import (
    Features,
    LearnedPreconditioner,
    Multipliers,
    Point,
    Prepared,
    Proposer,
    Step,
    relative_step,
    rms,
    scale_free,
)
from learnmm.proposers.bfgs import BFGS
from learnmm.proposers.constant import Constant
from learnmm.proposers.conv_lstm import CellMemory, ConvLSTMCell, DualConvLSTM
from learnmm.proposers.coordinatewise import CoordinatewiseLSTM, SpectralLSTM
from learnmm.proposers.dense_bfgs import DenseBFGS
from learnmm.proposers.extrapolated import Extrapolated
from learnmm.proposers.limited_memory import LimitedMemory
from learnmm.proposers.metric import KnownHessian, KnownSpectrum, Metric
from learnmm.proposers.quasi_newton import LearnedQuasiNewton, Rule
from learnmm.proposers.unprojected import DampedInverse, Unprojected

__all__ = [
    "BFGS",
    "CellMemory",
    "Constant",
    "ConvLSTMCell",
    "CoordinatewiseLSTM",
    "DampedInverse",
    "DenseBFGS",
    "DualConvLSTM",
    "Extrapolated",
    "Features",
    "KnownHessian",
    "KnownSpectrum",
    "LearnedPreconditioner",
    "LearnedQuasiNewton",
    "LimitedMemory",
    "Metric",
    "Multipliers",
    "Point",
    "Prepared",
    "Proposer",
    "Rule",
    "SpectralLSTM",
    "Step",
    "Unprojected",
    "relative_step",
    "rms",
    "scale_free",
]
