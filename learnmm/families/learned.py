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
from learnmm.proposers.base import Point, Prepared, Proposer, Step
from learnmm.proposers.limited_memory import LimitedMemory, Pairs
from learnmm.proposers.metric import KnownHessian, Metric
from learnmm.storage import (
    check_fit,
    load_notes,
    load_weights,
    module_layout,
    peek_weights,
    save_weights,
)


class Under(StrEnum):
    """What lies under the pairs of limited memory."""

    OWN = "own"
    """The majorant's curvature: nothing was learned."""

    MEAN = "mean"
    """The mean Hessian of the solutions of training."""

    SPACE = "space"
    """The Hessian that the network predicts, corrected by the pairs; see `HessianSpace`."""


class LearnedMemory(Proposer):
    """Limited memory with a learned start and a learned metric, for problems of one family.

    What :func:`learnmm.learn` returns holds one. Everything learned is a proposal: the start is
    taken where the objective is lower there than at ``x0``, the metric is left for the majorant's
    curvature where the pairs speak against it, and every step is verified.

    Parameters
    ----------
    model : FamilyModel
        What was learned.
    under : Under
        Which metric is used.
    starts : bool
        Whether the learned start is used.
    history : int
        Pairs to keep.
    """

    trials = LimitedMemory.trials
    reach = LimitedMemory.reach
    curvature_from_steps = True
    remembers_points = True

    def __init__(
        self, model: FamilyModel, under: Under | str, starts: bool, history: int = 10
    ) -> None:
        super().__init__()
        self.model = model
        self.under = Under(under)
        self.starts = starts
        self.history = history
        self.data: Tensor | None = None
        self.report: Report | None = None
        metric: Metric | None = None
        if self.under is Under.MEAN:
            metric = KnownHessian(model.space.root @ model.space.root)
        elif self.under is Under.SPACE:
            metric = model.space
        self.steps = LimitedMemory(history, metric)

    @property
    def learns(self) -> bool:
        """Whether anything learned is used at all."""
        return self.starts or self.under is not Under.OWN

    def given(self, data: Tensor | None) -> LearnedMemory:
        """Return the same for problems with this data, ``(B, d)``."""
        other = copy.copy(self)
        other.data = data
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything learned, and the report, to one safetensors file, atomically.

        Numbers are stored as float32.

        Raises
        ------
        ImportError
            Without safetensors, of the extra ``train``.
        """
        sizes = self.model.sizes
        config = {
            "shape": list(sizes.shape),
            "data": sizes.data,
            "directions": sizes.directions,
            "hidden": sizes.hidden,
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
            sizes = Sizes(
                tuple(int(side) for side in config["shape"]),
                None if config["data"] is None else int(config["data"]),
                int(config["directions"]),
                int(config["hidden"]),
            )
            with torch.device("meta"):
                model = FamilyModel(sizes).float()
            check_fit(Path(path), layout, module_layout(model))
            model = model.to_empty(device="cpu")
            load_weights(path, model)
            learned = LearnedMemory(
                model.double(), config["under"], bool(config["starts"]), int(config["history"])
            )
        except (KeyError, TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{path} holds no learned family: {error}") from error
        report = load_notes(path).get("report")
        learned.report = None if report is None else Report.read(report)
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
        with torch.no_grad():
            start, told = self.model(features_of(x, gradient, self.data))
        begin = start.reshape(x.shape).to(x.dtype) if self.starts else None
        if self.under is not Under.SPACE:
            return Prepared(self.steps.prepare(x, gradient).memory, begin)
        believed = self.model.space.believed(told.to(x.dtype))
        return Prepared(self.steps.knowing(x, believed), begin)

    def init_memory(self, x: Tensor) -> Pairs:
        """No pairs, and nothing learned."""
        return self.steps.init_memory(x)

    def observe(self, point: Point, memory: Pairs) -> Pairs:
        """Take in the pair of the step to this iterate."""
        return self.steps.observe(point, memory)

    def propose(self, point: Point, memory: Any) -> Step:
        """Propose the step of limited memory."""
        return self.steps.propose(point, memory)

    def _check(self, x: Tensor) -> None:
        sizes = self.model.sizes
        if tuple(x.shape[1:]) != sizes.shape:
            raise ValueError(
                f"this was learned for unknowns of shape {sizes.shape}, got {tuple(x.shape[1:])}"
            )
        wanted = None if sizes.data is None else (len(x), sizes.data)
        came = None if self.data is None else tuple(self.data.shape)
        if wanted != came:
            if wanted is None:
                raise ValueError(f"this was learned without data, got data of shape {came}")
            raise ValueError(
                f"this was learned with data of shape {wanted}, got "
                f"{came or 'none'}: give it by proposer=learned.given(data)"
            )
