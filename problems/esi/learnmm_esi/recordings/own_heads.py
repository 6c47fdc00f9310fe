"""What solves recordings on the template's head, each with the electrodes that it has."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import mne
from numpy.typing import NDArray

from learnmm.storage import peek_weights
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.networks.configuration import Configuration
from learnmm_esi.recordings.engine import Engine, naming
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings
from learnmm_esi.recordings.template_head import head_model_for

__all__ = ["OwnHeads"]

KEPT = 4  # engines: of so many caps is kept what was prepared


class OwnHeads:
    """Has an `Engine` for each cap.

    Parameters
    ----------
    head : HeadModelSettings, optional
        Of the template. Default: that which the weights were trained on, if any.
    settings : InverseSettings
        How to solve.
    sensors : SensorSettings
        What to do about channels.
    """

    def __init__(
        self, head: HeadModelSettings | None, settings: InverseSettings, sensors: SensorSettings
    ) -> None:
        if head is None and settings.weights is not None:
            path = find_weights(settings.weights)
            head = Configuration.of(path, peek_weights(path)[1]).head
        self.head = head or HeadModelSettings()
        self.settings, self.sensors = settings, sensors
        self._engines: dict[HeadModel, Engine] = {}

    def __repr__(self) -> str:
        return f"OwnHeads({self.head})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engines behind: another process makes those that it needs."""
        return {**self.__dict__, "_engines": {}}

    def of(self, info: mne.Info, verbose: bool | str | int | None = None) -> Engine:
        """Return the engine for a recording's electrodes."""
        with mne.use_log_level(verbose):
            model = head_model_for(info, self.head, on_missing=self.sensors.on_missing)
        if model not in self._engines:
            if len(self._engines) == KEPT:
                del self._engines[next(iter(self._engines))]
            # What the model lacks was told when it was made.
            sensors = replace(self.sensors, on_missing="ignore")
            self._engines[model] = Engine(model, self.settings, sensors)
        return self._engines[model]

    def solve_listed(
        self, place: int, evoked: mne.Evoked, verbose: bool | str | int | None
    ) -> tuple[NDArray[Any], MMFit]:
        """Solve one evoked response of several; errors say which."""
        with naming(place, evoked), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # given where the call was made
            engine = self.of(evoked.info, verbose)
        return engine.solve_listed(place, evoked, verbose)
