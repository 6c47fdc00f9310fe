"""EEG source imaging: head models, simulators, metrics, classical methods and the energy.

Names are imported on first use, since MNE-Python and nilearn take seconds to import.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

_HOMES = {
    "ERPProblem": "problem",
    "ERPSimulator": "simulation.erp",
    "Evaluator": "metrics",
    "EvidenceEnergy": "inverse.evidence",
    "HeadModel": "head.model",
    "HeadModelSettings": "head.settings",
    "InverseSettings": "recordings.settings",
    "MMFit": "inverse.fit",
    "MMInverse": "recordings.apply",
    "Method": "networks.method",
    "NMMSimulator": "simulation.nmm",
    "PatchSettings": "simulation.patches",
    "Preset": "training.presets",
    "PriorSettings": "networks.energy",
    "RawSpan": "recordings.raw_parts",
    "RecordingSettings": "training.presets",
    "Recordings": "networks.method",
    "Reconstruction": "inverse.energy",
    "SensorSettings": "recordings.settings",
    "SourceEnergy": "inverse.energy",
    "SourceSolver": "networks.solver",
    "TrainingSettings": "training.presets",
    "add_to_report": "recordings.report",
    "apply_mm": "recordings.apply",
    "expand_estimate": "recordings.estimates",
    "fsaverage_head_model": "head.fsaverage",
    "head_model_for": "recordings.template_head",
    "head_model_from_forward": "head.from_forward",
    "head_model_from_leadfield": "head.from_leadfield",
    "inverse_kernel": "inverse.classical",
    "load_preset": "training.presets",
    "load_solver": "networks.files",
    "method": "networks.registry",
    "methods": "networks.registry",
    "mne_python_inverse": "inverse.classical",
    "plot_cortex": "plots.cortex",
    "plot_head_model": "plots.head",
    "plot_reconstruction": "plots.overview",
    "read_head_model": "head.from_file",
    "register": "networks.registry",
    "report": "head.report",
    "save_solver": "networks.files",
    "template_regions": "head.registration",
    "train": "training.train",
}

__version__ = version("learnmm-esi")

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
