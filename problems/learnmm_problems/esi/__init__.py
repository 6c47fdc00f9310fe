"""EEG source imaging: head models, simulators, metrics, classical methods and the energy.

Names are imported on first use, since MNE-Python and nilearn take seconds to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .extras import needs_extra

_HOMES = {
    "ERPProblem": "problem",
    "ERPSimulator": "erp",
    "Evaluator": "metrics",
    "HeadModel": "headmodel",
    "HeadModelSettings": "headmodel",
    "MMFit": "fit",
    "MMInverse": "apply",
    "NMMSimulator": "nmm",
    "Reconstruction": "energy",
    "SourceEnergy": "energy",
    "apply_mm": "apply",
    "expand_estimate": "estimates",
    "fsaverage_head_model": "fsaverage",
    "head_model_from_forward": "external",
    "head_model_from_leadfield": "external",
    "inverse_kernel": "classical",
    "load_solver": "learned.files",
    "mne_python_inverse": "classical",
    "plot_cortex": "figures",
    "plot_head_model": "figures",
    "plot_reconstruction": "overview",
    "read_head_model": "external",
    "report": "headmodel_report",
    "save_solver": "learned.files",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra("esi"):
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
