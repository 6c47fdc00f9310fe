"""Learned optimizers that cannot do harm.

A network proposes each step, a curvature bound (a *majorant*) limits it, and the objective goes
down at every iteration, for every problem of a batch, whatever the network says.

What most programs need is here. Curvatures, linear maps, majorants and proposers, the laws of all
of them (`checks`) and what stands in for a `torch.optim` optimizer (`optim`) have modules of their
own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from learnmm import checks, curvature, linear, majorants, optim, proposers, proximal  # noqa: F401
from learnmm.atoms import (
    Atom,
    AutoencoderPrior,
    CosineDistance,
    HalfQuadratic,
    LinearSmootherPrior,
    Logistic,
    Quadratic,
    Softmax,
    SoftReLU,
    least_squares,
)
from learnmm.bound import Bound, Majorant
from learnmm.kind import Kind
from learnmm.objective import Evaluation, Objective
from learnmm.proposers import (
    LearnedPreconditioner,
    LimitedMemory,
    Multipliers,
    Point,
    Proposer,
    Step,
)
from learnmm.registry import Instance, Problem, problem, problems
from learnmm.solve import (
    ProjectedMMOptimizer,
    Projection,
    Relaxation,
    Result,
    Safeguard,
    SolveSettings,
    State,
    Status,
    minimize,
)
from learnmm.solve import (
    StepInfo as StepInfo,  # listed with learnmm.solve
)
from learnmm.storage import load_pretrained, load_weights, save_weights
from learnmm.unroll import Backward, UnrolledMM

if TYPE_CHECKING:
    from learnmm.families import learn
    from learnmm.training import AdamSettings, FitSettings, Record, fit

__all__ = [
    "AdamSettings",
    "Atom",
    "AutoencoderPrior",
    "Backward",
    "Bound",
    "CosineDistance",
    "Evaluation",
    "FitSettings",
    "HalfQuadratic",
    "Instance",
    "Kind",
    "LearnedPreconditioner",
    "LimitedMemory",
    "LinearSmootherPrior",
    "Logistic",
    "Majorant",
    "Multipliers",
    "Objective",
    "Point",
    "Problem",
    "ProjectedMMOptimizer",
    "Projection",
    "Proposer",
    "Quadratic",
    "Record",
    "Relaxation",
    "Result",
    "Safeguard",
    "SoftReLU",
    "Softmax",
    "SolveSettings",
    "State",
    "Status",
    "Step",
    "UnrolledMM",
    "checks",
    "curvature",
    "fit",
    "learn",
    "least_squares",
    "linear",
    "load_pretrained",
    "load_weights",
    "majorants",
    "minimize",
    "optim",
    "problem",
    "problems",
    "proposers",
    "save_weights",
]

__version__ = "0.1.0"

LATER = {
    "training": ("AdamSettings", "FitSettings", "Record", "fit"),
    "families": ("learn",),
}


def __getattr__(name: str) -> Any:
    """Import training where it is asked for: the rest needs torch alone."""
    for package, names in LATER.items():
        if name in (package, *names):
            module = import_module(f"learnmm.{package}")
            return module if name == package else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
