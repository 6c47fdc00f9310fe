"""Training on Lightning Fabric: one process or many, resumable to the bit."""

from learnmm.training.loop import FitResult, fit
from learnmm.training.settings import FitSettings

__all__ = ["FitResult", "FitSettings", "fit"]
