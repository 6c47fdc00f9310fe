"""Limited memory that starts, and bends, as a family of problems has taught it."""

from __future__ import annotations

import copy
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learnmm.families.model import FamilyModel, Sizes, features_of
from learnmm.families.report import Report
from learnmm.families.spectra import SpectralModel
from learnmm.proposers.base import Point, Prepared, Proposer, Step
from learnmm.proposers.bfgs import BFGS
from learnmm.proposers.dense_bfgs import Inverse
from learnmm.proposers.limited_memory import LimitedMemory, Pairs
from learnmm.proposers.metric import KnownHessian, KnownSpectrum, Metric
from learnmm.storage import (
    check_fit,
    load_notes,
    load_weights,
    module_layout,
    peek_weights,
    save_weights,
    shown,
)
from learnmm.storage.configuration import short

MOST_PAIRS = 1000
"""Pairs that a file may ask for: each takes two copies of the iterates."""


class Under(StrEnum):
    """What lies under the pairs that a problem is told by."""

    OWN = "own"
    """The majorant's curvature: nothing was learned."""

    MEAN = "mean"
    """The mean Hessian of the solutions of training."""

    SPACE = "space"
    """The Hessian that the network predicts, corrected by the pairs; see `HessianSpace`."""
    SPECTRUM = "spectrum"
    """The mean Hessian of a grid, as far as it is diagonal in cosines; see `KnownSpectrum`."""


DENSE = (Under.OWN, Under.MEAN, Under.SPACE)
"""Of models that know dense Hessians."""


class LearnedMemory(Proposer):
    """BFGS steps from a learned start and under a learned metric, for problems of one family.

    With a metric they are those of limited memory, without one those of the default.

    What :func:`learnmm.learn` returns holds one. Everything learned is a proposal: the start is
    taken where the objective is lower there than at ``x0``, the metric is left for the majorant's
    curvature where the pairs speak against it, and every step is verified.

    Parameters
    ----------
    model : FamilyModel or SpectralModel
        What was learned: of at most 600 unknowns, or of more.
    under : Under
        Which metric is used.
    starts : bool
        Whether the learned start is used.
    history : int
        Pairs to keep.

    Raises
    ------
    ValueError
        If the model has no such metric, or no start.
    """

    trials = LimitedMemory.trials
    reach = LimitedMemory.reach
    curvature_from_steps = True
    remembers_points = True

    def __init__(
        self,
        model: FamilyModel | SpectralModel,
        under: Under | str,
        starts: bool,
        history: int = 10,
    ) -> None:
        super().__init__()
        self.model = model
        self.under = Under(under)
        if (self.under, starts) not in choices(model):
            raise ValueError(
                f"this model has no metric {self.under.value!r}" + " with a learned start" * starts
            )
        self.starts = starts
        self.history = history
        self.data: Tensor | None = None
        self.report: Report | None = None
        metric = _metric(model, self.under)
        self.steps = BFGS(history) if metric is None else LimitedMemory(history, metric)

    @property
    def learns(self) -> bool:
        """Whether anything learned is used at all."""
        return self.starts or self.under is not Under.OWN

    def given(self, data: Tensor | None) -> LearnedMemory:
        """Return the same for problems with this data, ``(B, d)``."""
        other = copy.copy(self)
        other.data = data
        return other

    def restricted(self, rows: Tensor) -> LearnedMemory:
        """Return the same for the data of some problems of its batch."""
        return self if self.data is None else self.given(self.data[rows])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything learned, and the report, to one safetensors file, atomically.

        Numbers are stored as float32.

        Raises
        ------
        ImportError
            Without safetensors, of the extra ``train``.
        """
        config = {
            **_sizes(self.model),
            "under": self.under.value,
            "starts": self.starts,
            "history": self.history,
        }
        notes = {} if self.report is None else {"report": self.report.written()}
        save_weights(path, copy.deepcopy(self.model).float(), config, notes=notes)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> LearnedMemory:
        """Read a file of :meth:`save`.

        Raises
        ------
        FileNotFoundError, ImportError, ValueError
            If it is not there, cannot be read, or is none; sizes are compared with what the file
            holds before anything is allocated.
        """
        layout, config = peek_weights(path)
        try:
            with torch.device("meta"):
                model = _unfilled(config).float()
            check_fit(Path(path), layout, module_layout(model))
            model = model.to_empty(device="cpu")
            load_weights(path, model)
            under, starts, history = (config[name] for name in ("under", "starts", "history"))
            if type(starts) is not bool or type(history) is not int or history > MOST_PAIRS:
                raise ValueError(
                    "starts must be true or false, and history an integer of at most "
                    f"{MOST_PAIRS}, got {short(starts)} and {short(history)}"
                )
            learned = LearnedMemory(model.double(), under, starts, history)
            report = load_notes(path).get("report")
            learned.report = None if report is None else Report.read(report)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as e:
            raise ValueError(f"{path} holds no learned family: {shown(str(e))}") from e
        return learned

    def prepare(self, x: Tensor, gradient: Tensor) -> Prepared:
        """Ask the network for a start, and for where the Hessians are.

        Raises
        ------
        ValueError
            For problems of another shape than those of the family, or without their data.
        """
        if not self.learns:
            return self.steps.prepare(x, gradient)
        self._check(x)
        if isinstance(self.model, SpectralModel):
            return self.steps.prepare(x, gradient)
        with torch.no_grad():
            start, told = self.model(features_of(x, gradient, self.data))
        begin = start.reshape(x.shape).to(x.dtype) if self.starts else None
        if isinstance(self.steps, BFGS) or self.under is not Under.SPACE:
            return Prepared(self.steps.prepare(x, gradient).memory, begin)
        believed = self.model.space.believed(told.to(x.dtype))
        return Prepared(self.steps.knowing(x, believed), begin)

    def init_memory(self, x: Tensor) -> Inverse | Pairs:
        """No pairs, and nothing learned."""
        return self.steps.init_memory(x)

    def observe(self, point: Point, memory: Any) -> Any:
        """Take in the pair of the step to this iterate."""
        return self.steps.observe(point, memory)

    def propose(self, point: Point, memory: Any) -> Step:
        """Propose the step of its pairs."""
        return self.steps.propose(point, memory)

    def _check(self, x: Tensor) -> None:
        shape = self.model.shape
        if tuple(x.shape[1:]) != shape:
            raise ValueError(
                f"this was learned for unknowns of shape {shape}, got {tuple(x.shape[1:])}"
            )
        if isinstance(self.model, SpectralModel):
            return  # it does not look at data
        seen = self.model.sizes.data
        wanted = None if seen is None else (len(x), seen)
        came = None if self.data is None else tuple(self.data.shape)
        if wanted != came:
            if wanted is None:
                raise ValueError(f"this was learned without data, got data of shape {came}")
            raise ValueError(
                f"this was learned with data of shape {wanted}, got "
                f"{came or 'none'}: give it by proposer=learned.given(data)"
            )


def choices(model: FamilyModel | SpectralModel) -> list[tuple[Under, bool]]:
    """Metrics and starts that a model has; first what learns nothing, and the cheaper first."""
    if isinstance(model, SpectralModel):
        return [(Under.OWN, False), (Under.SPECTRUM, False)]
    return [(under, starts) for under in DENSE for starts in (False, True)]


def _metric(model: FamilyModel | SpectralModel, under: Under) -> Metric | None:
    if isinstance(model, SpectralModel):
        return KnownSpectrum(model.spectrum) if under is Under.SPECTRUM else None
    if under is Under.MEAN:
        return KnownHessian(model.space.root @ model.space.root)
    return model.space if under is Under.SPACE else None


def _sizes(model: FamilyModel | SpectralModel) -> dict[str, Any]:
    """What an empty model is built from, for a file."""
    if isinstance(model, SpectralModel):
        return {"shape": list(model.shape)}
    sizes = model.sizes
    dense = {"data": sizes.data, "directions": sizes.directions, "hidden": sizes.hidden}
    return {"shape": list(sizes.shape), **dense}


def _unfilled(config: dict[str, Any]) -> FamilyModel | SpectralModel:
    """The model of a file, of which only the sizes are right."""
    shape = tuple(int(side) for side in config["shape"])
    if "directions" not in config:
        return SpectralModel(shape)
    data = None if config["data"] is None else int(config["data"])
    return FamilyModel(Sizes(shape, data, int(config["directions"]), int(config["hidden"])))
