"""Training on Lightning Fabric: one process or many, resumable to the bit."""

from learnmm.training.loop import FitResult, fit
from learnmm.training.record import Record
from learnmm.training.settings import AdamSettings, FitSettings

__all__ = ["AdamSettings", "FitResult", "FitSettings", "Record", "fit"]
