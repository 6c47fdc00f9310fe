"""Learned optimizers that cannot do harm.

A network proposes each step, a curvature bound (a *majorant*) limits it, and the objective goes
down at every iteration, for every problem of a batch, whatever the network says.
"""

from typing import TYPE_CHECKING, Any

from learnmm import checks, optim
from learnmm.atoms.activations import SoftReLU
from learnmm.atoms.autoencoder import AutoencoderPrior
from learnmm.atoms.base import Atom
from learnmm.atoms.cosine_distance import CosineDistance
from learnmm.atoms.separable import HalfQuadratic, Logistic, Quadratic, least_squares
from learnmm.atoms.smoother import LinearSmootherPrior
from learnmm.atoms.softmax import Softmax
from learnmm.bound import AdaptiveMajorant, Bound, Majorant
from learnmm.curvature import Curvature, DiagonalCurvature, LowRankCurvature, ScalarCurvature
from learnmm.hessian import hessian_product
from learnmm.kind import Kind
from learnmm.learn.unrolled import Unrolled, UnrolledMM
from learnmm.linear.base import LinearMap
from learnmm.linear.matrix import MatrixMap
from learnmm.linear.operator import LinearOperator
from learnmm.linear.transforms import convolution, subsampled_fourier
from learnmm.majorants.hessian import LanczosMajorant, PowerIterationMajorant
from learnmm.majorants.lipschitz import LipschitzMajorant
from learnmm.majorants.secant import SecantMajorant
from learnmm.objective import CallableObjective, DomainError, Evaluation, Objective
from learnmm.proposers.base import (
    Direction,
    Features,
    LearnedComponent,
    LearnedDirection,
    LearnedPreconditioner,
    Point,
)
from learnmm.proposers.conv_lstm import DualConvLSTM
from learnmm.proposers.coordinatewise import CoordinatewiseLSTM, SpectralLSTM
from learnmm.proposers.limited_memory import LimitedMemory
from learnmm.proposers.simple import Constant, Identity
from learnmm.proposers.unprojected import DampedInverse, Unprojected
from learnmm.registry import Instance, Problem, problem, problems
from learnmm.solve.optimizer import ProjectedMMOptimizer, minimize
from learnmm.solve.projection import Projection
from learnmm.solve.result import Certificate, Result, Status, StepInfo
from learnmm.solve.safeguard import Relaxation, Safeguard
from learnmm.solve.state import State
from learnmm.storage import load_weights, save_weights

if TYPE_CHECKING:
    from learnmm.training import AdamSettings, FitResult, FitSettings, Record, fit

__all__ = [
    "AdamSettings",
    "AdaptiveMajorant",
    "Atom",
    "AutoencoderPrior",
    "Bound",
    "CallableObjective",
    "Certificate",
    "Constant",
    "CoordinatewiseLSTM",
    "CosineDistance",
    "Curvature",
    "DampedInverse",
    "DiagonalCurvature",
    "Direction",
    "DomainError",
    "DualConvLSTM",
    "Evaluation",
    "Features",
    "FitResult",
    "FitSettings",
    "HalfQuadratic",
    "Identity",
    "Instance",
    "Kind",
    "LanczosMajorant",
    "LearnedComponent",
    "LearnedDirection",
    "LearnedPreconditioner",
    "LimitedMemory",
    "LinearMap",
    "LinearOperator",
    "LinearSmootherPrior",
    "LipschitzMajorant",
    "Logistic",
    "LowRankCurvature",
    "Majorant",
    "MatrixMap",
    "Objective",
    "Point",
    "PowerIterationMajorant",
    "Problem",
    "ProjectedMMOptimizer",
    "Projection",
    "Quadratic",
    "Record",
    "Relaxation",
    "Result",
    "Safeguard",
    "ScalarCurvature",
    "SecantMajorant",
    "SoftReLU",
    "Softmax",
    "SpectralLSTM",
    "State",
    "Status",
    "StepInfo",
    "Unprojected",
    "Unrolled",
    "UnrolledMM",
    "checks",
    "convolution",
    "fit",
    "hessian_product",
    "least_squares",
    "load_weights",
    "minimize",
    "optim",
    "problem",
    "problems",
    "save_weights",
    "subsampled_fourier",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import training where it is asked for: the rest needs torch alone."""
    if name in {"AdamSettings", "FitResult", "FitSettings", "Record", "fit"}:
        from learnmm import training

        return getattr(training, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
