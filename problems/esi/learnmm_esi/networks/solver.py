"""A method of Table I on a head model: an energy, what proposes the steps, and the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

import learnmm as lmm
from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.energy import Reconstruction
from learnmm_esi.networks import four_d_var_net, meta_curvature, mm_net, mod_grad
from learnmm_esi.networks.energy import LearnedEnergy, autoencoder
from learnmm_esi.networks.settings import MethodSettings
from learnmm_esi.networks.start import LearnedStart

_BUILDERS = {
    "4dvarnet": four_d_var_net.build,
    "meta-curvature": meta_curvature.build,
    "modgrad": mod_grad.build,
}

_PRODUCTS, _TOLERANCE = 16, 1e-5


class SourceSolver(nn.Module):
    """A learned source-imaging method, ready to train, to evaluate and to use.

    All methods run in the one loop of `learnmm.ProjectedMMOptimizer`; they differ in what
    proposes the steps and in whether steps are confined and verified.

    Parameters
    ----------
    model : HeadModel
        Lead field, channels and neighbours.
    settings : MethodSettings
        Which method.
    """

    def __init__(self, model: HeadModel, settings: MethodSettings) -> None:
        super().__init__()
        self.settings = settings
        self.head = model
        self.channel_names = tuple(model.channel_names)
        energy = LearnedEnergy(
            model,
            width=settings.width,
            kernel=settings.reach,
            weight=settings.weight,  # type: ignore[arg-type]
            learn_weight=settings.learn_weight,
            start=settings.start,  # type: ignore[arg-type]
            **mm_net.BOUNDS.get(settings.method, {}),  # type: ignore[arg-type]
        )
        component, optimizer = _component(settings, energy)
        self.unrolled = lmm.UnrolledMM(
            energy, component, start=energy.start, steps=settings.steps, **optimizer
        )

    @property
    def energy(self) -> LearnedEnergy:
        """The energy that the steps lower."""
        return self.unrolled.energy  # type: ignore[return-value]

    def forward(
        self,
        batch: Tensor | Mapping[str, Tensor],
        steps: int | None = None,
        verified: bool = True,
    ) -> lmm.Unrolled:
        """Unroll on recordings ``(B, sensors, times)``, or on a batch that holds ``"sensors"``."""
        sensors = batch if isinstance(batch, Tensor) else batch["sensors"]
        solved: lmm.Unrolled = self.unrolled(sensors, steps=steps, verified=verified)
        return solved

    def parameter_counts(self) -> dict[str, int]:
        """Number of learned weights: of what proposes the steps, energy, start, and of all."""
        sharpener = self.energy.sharpener
        parts = {
            "proposes": sum(p.numel() for p in self.unrolled.preconditioner.parameters()),
            "energy": sum(p.numel() for p in self.energy.autoencoder.parameters())
            + self.energy.log_weight.requires_grad,
            "start": 0 if sharpener is None else sum(p.numel() for p in sharpener.parameters()),
        }
        return {**parts, "all": sum(parts.values())}

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
            Instead of the number of the settings.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Reconstruction
        """
        y = self.energy.normalized(sensors)
        optimizer = self.unrolled.optimizer(
            y, settings=lmm.SolveSettings(max_iter=steps or self.settings.steps)
        )
        result = optimizer.minimize(self.energy.start(y), history=True, progress=progress)
        return Reconstruction(self.energy.amplitude(result.x, sensors), result)

    def configuration(self) -> dict[str, Any]:
        """Everything that a file of weights must say about itself, as plain values."""
        return {
            "settings": self.settings.as_dict(),
            "channels": list(self.channel_names),
            "leadfield": fingerprint(self.head.leadfield),
            "positions": np.round(1e3 * np.asarray(self.head.positions), 1).tolist(),  # mm
            "head": None if self.head.settings is None else asdict(self.head.settings),
        }


def weight_layout(settings: MethodSettings, sources: int) -> dict[str, Tensor]:
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
                "energy.autoencoder": autoencoder(sources, settings.width, settings.reach),
                "preconditioner": _component(settings, SimpleNamespace(matrix=matrix))[0],
            }
            if settings.start == "learned":
                parts["energy.sharpener"] = LearnedStart(matrix.mT)
            layout = {"unrolled.energy.log_weight": torch.empty(())}
    except RuntimeError as error:
        raise ValueError(f"settings of weights beyond any memory: {error}") from error
    for part, module in parts.items():
        layout |= {f"unrolled.{part}.{name}": t for name, t in module.state_dict().items()}
    return layout


def _component(
    settings: MethodSettings, energy: Any
) -> tuple[lmm.LearnedComponent, dict[str, Any]]:
    """Return what proposes the steps, and the settings of the optimizer."""
    return _BUILDERS.get(settings.method, mm_net.build)(settings, energy)


def fingerprint(leadfield: NDArray[np.float64]) -> list[float]:
    """Sixteen numbers that tell lead fields apart, whatever their units.

    Products ``u_k^T (L / |L|_F) v_k`` with fixed waves over sensors and sources. Unlike a hash of
    the entries they change as little as the lead field does, so that one built on another
    computer, with other rounding, is known again.
    """
    matrix = np.asarray(leadfield, dtype=np.float64)
    matrix = matrix / np.linalg.norm(matrix)
    number = np.arange(1, _PRODUCTS + 1)[:, None]
    u, v = (np.cos(0.7 * number * np.sqrt(2.0 + np.arange(size))) for size in matrix.shape)
    products = np.einsum("km,mn,kn->k", u, matrix, v, optimize=True)
    return [round(float(product), 7) for product in products]


def same_leadfield(a: list[float], b: list[float]) -> bool:
    """Whether two fingerprints are those of one lead field, up to rounding."""
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=0.0, atol=_TOLERANCE))
