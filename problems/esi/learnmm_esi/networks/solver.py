"""A method on a head model: the module that is trained, evaluated and used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

import learnmm as lmm
from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.energy import Reconstruction
from learnmm_esi.networks.energy import LearnedEnergy, autoencoder
from learnmm_esi.networks.fingerprint import fingerprint
from learnmm_esi.networks.method import Method, Recordings
from learnmm_esi.networks.start import LearnedStart
from learnmm_esi.networks.verdict import Verdict


class SourceSolver(nn.Module):
    """A learned source-imaging method, ready to train, to evaluate and to use.

    All methods run in the one loop of `learnmm.ProjectedMMOptimizer`; they differ in what
    proposes the steps and in whether steps are confined and verified.

    Parameters
    ----------
    model : HeadModel
        Lead field, channels and neighbours.
    method : Method
        Which method.
    recordings : Recordings
        What the recordings of its training are like.
    """

    def __init__(
        self,
        model: HeadModel,
        method: Method,
        recordings: Recordings = Recordings(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.method, self.recordings = method, recordings
        self.head = model
        self.seen: ArrayLike | Tensor = model.leadfield
        energy = LearnedEnergy(model, method.prior, method.start, method.bounds)
        self.unrolled = lmm.UnrolledMM(
            energy,
            method.proposer(energy.matrix, recordings.times),
            start=energy.start,
            steps=method.steps,
            settings=method.solve,
        )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in their order."""
        return tuple(self.head.channel_names)

    def see(self, leadfield: ArrayLike | Tensor) -> None:
        """Take another lead field: the same sources in the same order, any channels.

        Parameters
        ----------
        leadfield : array, shape (sensors, sources)
            V/(A m).
        """
        self.seen = leadfield
        self.energy.see(leadfield)
        for module in self.proposer.modules():
            if isinstance(module, lmm.proposers.DampedInverse):
                module.see(self.energy.matrix)

    @property
    def energy(self) -> LearnedEnergy:
        """The energy that the steps lower."""
        return cast(LearnedEnergy, self.unrolled.energy)

    @property
    def proposer(self) -> lmm.Proposer:
        """What proposes the steps."""
        return cast(lmm.Proposer, self.unrolled.proposer)

    def forward(
        self,
        batch: Tensor | Mapping[str, Tensor],
        steps: int | None = None,
        verified: bool = True,
    ) -> lmm.unroll.Unrolled:
        """Unroll on recordings ``(B, sensors, times)``, or on a batch that holds ``"sensors"``.

        A batch that holds ``"leadfield"`` is of another head, which is taken.
        """
        if not isinstance(batch, Tensor) and "leadfield" in batch:
            self.see(batch["leadfield"])
        sensors = batch if isinstance(batch, Tensor) else batch["sensors"]
        solved: lmm.unroll.Unrolled = self.unrolled(sensors, steps=steps, verified=verified)
        return solved

    def optimizer(self, sensors: Tensor, steps: int | None = None) -> lmm.ProjectedMMOptimizer:
        """Return what solves for recordings, in so many steps, by default those of the method."""
        settings = replace(self.unrolled.settings, max_iter=steps or self.method.steps)
        return self.unrolled.optimizer(sensors, settings)

    @torch.no_grad()
    def reconstruct(
        self, sensors: ArrayLike | Tensor, *, steps: int | None = None, progress: bool = False
    ) -> Reconstruction:
        """Estimate the sources of recordings.

        Parameters
        ----------
        sensors : array or Tensor, shape (batch, sensors, times)
            Average-referenced recordings in V, in the order of `channel_names`.
        steps : int, optional
            Instead of the number of the method.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Reconstruction
        """
        y = self.energy.normalized(sensors)
        start, accepted = self.energy.judged_start(y)
        if accepted is None:
            all_of = self.optimizer(y, steps).minimize(start, history=True, progress=progress)
            begun = self.energy.initial
            return Reconstruction(
                self.energy.amplitude(all_of.x, sensors),
                all_of,
                start=begun if begun in ("evidence", "noise") else "linear",
            )
        result: lmm.Result | None = None
        unmoved = y.new_zeros(0)
        if bool(accepted.any()):
            optimizer = self.optimizer(y[accepted], steps)
            result = optimizer.minimize(start[accepted], history=True, progress=progress)
        if not bool(accepted.all()):
            unmoved = self.energy(y[~accepted])(start[~accepted])
        if result is not None:
            start[accepted] = result.x
        return Reconstruction(
            self.energy.amplitude(start, sensors),
            result,
            refused=(~accepted).cpu().numpy(),
            unmoved=unmoved.double().cpu().numpy(),
        )

    def parameter_counts(self) -> dict[str, int]:
        """Number of learned weights: of what proposes the steps, energy, start, and of all."""
        sharpener = self.energy.sharpener
        parts = {
            "proposes": _count(self.proposer),
            "energy": _count(self.energy.autoencoder) + self.energy.log_weight.requires_grad,
            "start": 0 if sharpener is None else _count(sharpener),
        }
        return {**parts, "all": sum(parts.values())}

    def configuration(self) -> dict[str, Any]:
        """Everything that a file of weights must say about itself, as plain values."""
        return {
            "method": self.method.name,
            "settings": self.method.as_dict(),
            "recordings": asdict(self.recordings),
            "channels": list(self.channel_names),
            "leadfield": fingerprint(self.head.leadfield),
            "positions": np.round(1e3 * np.asarray(self.head.positions), 1).tolist(),  # mm
            "head": None if self.head.settings is None else asdict(self.head.settings),
        }


def weight_layout(method: Method, recordings: Recordings, sources: int) -> dict[str, Tensor]:
    """Shapes and dtypes of the weights of a `SourceSolver`, on the device ``meta``.

    Nothing of these sizes is allocated: settings of a file can be compared with its tensors before
    anything is built.

    Raises
    ------
    ValueError
        If they are beyond any memory.
    """
    try:
        with torch.device("meta"):
            # Numbers, of one sensor: what follows from the head model may look at them.
            matrix = torch.ones(1, sources, device="cpu")
            parts: dict[str, nn.Module] = {
                "energy.autoencoder": autoencoder(sources, method.prior),
                "proposer": method.proposer(matrix, recordings.times),
            }
            layout = {"unrolled.energy.log_weight": torch.empty(())}
            if method.start == "learned":
                parts["energy.sharpener"] = LearnedStart(sources)
                parts["energy.verdict"] = Verdict()
                layout["unrolled.energy.weight_slopes"] = torch.empty(2)
    except RuntimeError as error:
        raise ValueError(f"settings of weights beyond any memory: {error}") from error
    for part, module in parts.items():
        layout |= {f"unrolled.{part}.{name}": t for name, t in module.state_dict().items()}
    return layout


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
