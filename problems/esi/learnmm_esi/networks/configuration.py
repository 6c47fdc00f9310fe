"""What a file of weights says about itself, checked, and whether it serves a head model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnmm.plain import is_number
from learnmm.storage import listed, short, shown
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.networks.fingerprint import fingerprint, same_leadfield
from learnmm_esi.networks.method import Method, Recordings
from learnmm_esi.networks.registry import method_class
from learnmm_esi.settings import settings_of

NEAR = 10.0  # mm; sources stay in their region on another surface or boundary

HOW_TO_TRAIN = (
    "learnmm-esi train mm-net --data erp --forward yours-fwd.fif (of a bare lead field yours.npz, "
    "see read_head_model), about half an hour on one core"
)
ADVICE = f"Use the head model they were trained on, or train for yours: {HOW_TO_TRAIN}"

ENTRIES = {"method", "settings", "recordings", "channels", "leadfield", "positions", "head", "data"}


@dataclass(frozen=True, eq=False)
class Configuration:
    """What a file says about its weights.

    Attributes
    ----------
    path : path
        The file.
    method : Method
        What they are the weights of.
    recordings : Recordings
        What they were trained on.
    channels : list of str
        Names of the channels, in their order.
    leadfield : list of float
        Its fingerprint.
    positions : ndarray, shape (sources, 3)
        Where the sources lie, in mm.
    data : str
        Name of the data set that they were trained on.
    head : HeadModelSettings or None
        Of the library's own head model; None for another.
    """

    path: str | os.PathLike[str]
    method: Method
    recordings: Recordings
    channels: list[str]
    leadfield: list[float]
    positions: NDArray[np.float64]
    data: str
    head: HeadModelSettings | None

    @classmethod
    def of(cls, path: str | os.PathLike[str], config: dict[str, Any]) -> Configuration:
        """Check the configuration of a file that anybody may have written.

        Raises
        ------
        ValueError
            If it is none of a method, or says what cannot be.
        """
        if missing := ENTRIES - set(config):
            raise ValueError(
                f"{path} holds weights, but not those of a source-imaging method: its "
                f"configuration has no {', '.join(sorted(missing))}"
            )
        right = {
            "channels": _list_of(config["channels"], lambda name: isinstance(name, str)),
            "leadfield": _list_of(config["leadfield"], is_number),
            "positions": _list_of(config["positions"], _is_position),
            # It becomes part of the names of files.
            "data": isinstance(config["data"], str) and re.fullmatch(r"\w[\w.-]*", config["data"]),
        }
        if wrong := [name for name, good in right.items() if not good]:
            values = ", ".join(f"{name} = {short(config[name])}" for name in wrong)
            raise ValueError(f"{path} is damaged: its configuration has {values}")
        try:
            kind = method_class(config["method"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        head = config["head"]
        return cls(
            path,
            settings_of(kind, _explicit(config["settings"]), path, "settings"),
            settings_of(Recordings, config["recordings"], path, "recordings"),
            config["channels"],
            config["leadfield"],
            np.array(config["positions"], dtype=np.float64).reshape(-1, 3),
            config["data"],
            None if head is None else settings_of(HeadModelSettings, head, path, "head"),
        )

    def check_model(self, model: HeadModel) -> None:
        """Raise a ValueError unless the weights were trained for this head model.

        Weights that were trained over ranges serve all with their sources.
        """
        if self.recordings.any:
            return self.check_positions(model)
        if list(model.channel_names) != self.channels:
            lacking = [name for name in self.channels if name not in model.channel_names]
            further = [name for name in model.channel_names if name not in self.channels]
            what = [f"it lacks {listed([shown(n) for n in lacking], ', ')}"] if lacking else []
            what += [f"it has {listed(further, ', ')} besides"] if further else []
            raise ValueError(
                f"the weights of {self.path} are for {len(self.channels)} channels, the head model "
                f"has {len(model.channel_names)}: {'; '.join(what) or 'their order differs'}. "
                f"{ADVICE}"
            )
        if not same_leadfield(fingerprint(model.leadfield), self.leadfield):
            raise ValueError(
                f"the weights of {self.path} are for another lead field than the head model's"
                f"{_other_settings(self.head, model.settings)}. {ADVICE}"
            )

    def check_positions(self, model: HeadModel) -> None:
        """Raise a ValueError unless a head model has the sources of the weights, in their order."""
        there = 1e3 * np.asarray(model.positions)
        if there.shape != self.positions.shape:
            raise ValueError(
                f"the weights of {self.path} are for {len(self.positions)} sources, the head model "
                f"has {len(there)}. {ADVICE}"
            )
        apart = np.linalg.norm(there - self.positions, axis=1)
        if (far := int((apart > NEAR).sum())) > 0:
            raise ValueError(
                f"the weights of {self.path} are for other sources: {far} of {len(there)} lie more "
                f"than {NEAR:g} mm from where they were in training (source {int(apart.argmax())} "
                f"by {apart.max():.0f} mm), as they do in another order, space or frame. {ADVICE}"
            )


def _explicit(settings: Any) -> Any:
    """Settings of a file; one that is silent on a reference is older than it, and has none."""
    if not isinstance(settings, dict) or not isinstance(settings.get("prior"), dict):
        return settings
    return {**settings, "prior": {"reference": 0.0, **settings["prior"]}}


def _list_of(values: Any, right: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(right, values))


def _is_position(value: Any) -> bool:
    return _list_of(value, is_number) and len(value) == 3


def _other_settings(trained: HeadModelSettings | None, given: HeadModelSettings | None) -> str:
    """Tell what head model the weights were trained on, where it is one of the library's."""
    if trained is None:
        return ""
    if given is None:
        return f": they were trained on the library's own, {trained}"
    mine, theirs = asdict(given), asdict(trained)
    differ = [name for name in theirs if mine[name] != theirs[name]]
    told = ", ".join(f"{name}={theirs[name]!r} in place of {mine[name]!r}" for name in differ)
    option = f" (on the command line, --ico {trained.ico})" if "ico" in differ else ""
    return f": they were trained with {told}{option}" if told else ""
