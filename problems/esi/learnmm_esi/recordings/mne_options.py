"""Options that are refused: those of MNE-Python with the reason, those of a group with its name."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["refuse_options"]

_FIXED = "sources are oriented along the cortical normals"
_WEIGHT = (
    "the weight of the prior regularizes, and follows from the noise of each recording; a fixed "
    "one is InverseSettings(weight=1.0), and more is smoother"
)
REASONS = {
    "bound": "there is one, which holds everywhere, and every step is verified. The pointwise "
    "bound of SourceEnergy reaches lower energies, whose sources are farther from the true ones",
    "combine_xyz": f"{_FIXED}, so there are no components to combine",
    "depth": "there is no bias to correct: without weights patches of any depth start alike, and "
    "the linear start is sLORETA",
    "fixed": f"{_FIXED} already",
    "invert": "there is one solver",
    "label": "all sources explain the recording together. Take some with stc.in_label(label)",
    "lambda2": _WEIGHT,
    "loose": f"{_FIXED}, with no looseness",
    "method": "there is one method here; mne_python_inverse(model, data, 'sLORETA') has the others",
    "method_params": "there is one method here",
    "nave": "the scale of the noise plays no role, so neither does the number of averages",
    "parallel": "n_jobs says in how many processes several recordings are solved",
    "pick_normal": f"{_FIXED} already",
    "pick_ori": f"{_FIXED}, which is pick_ori='normal'; free orientations and vectors need a head "
    "model of three columns for each source",
    "picks": "all good EEG channels are used; others are left out by recording.pick, or as bad",
    "prepared": "MMInverse(model) keeps what it prepares",
    "rank": "the rank follows from the channels and projectors",
    "reject": "reject epochs before: Epochs(..., reject=...)",
    "return_residual": "the residual is the recording less mne.apply_forward(model.forward(), stc, "
    "info); its share is fit.explained of return_result=True",
    "snr": _WEIGHT,
    "time_func": "apply it to stc.data",
    "tmin": "crop the recording before: recording.copy().crop(tmin, tmax)",
    "tmax": "crop the recording before: recording.copy().crop(tmin, tmax)",
    "use_cps": "is an option of the head model: head_model_from_forward(patch_normals=True)",
}

_GROUPS = {
    "settings=InverseSettings": (
        "weight",
        "diffusion",
        "max_iter",
        "weights",
        "transfer",
        "guided",
    ),
    "sensors=SensorSettings": ("noise_cov", "on_missing"),
    "span=RawSpan": ("start", "stop", "buffer_size", "reject_by_annotation"),
}
REASONS |= {
    name: f"it is one of a group, given as {group}({name}=...)"
    for group, names in _GROUPS.items()
    for name in names
}


def refuse_options(function: str, options: Iterable[str]) -> None:
    """Raise a TypeError for what is no option, with the reason where MNE-Python has it."""
    for name in options:
        if name in REASONS:
            raise TypeError(f"{function}() has no option {name}: {REASONS[name]}")
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
