"""The energy whose prior is learned: fit of the recording's shape plus an autoencoder's opinion."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

import learnmm as lmm
from learnmm.atoms import AutoencoderBound, CosineBound
from learnmm.linear import Form
from learnmm_esi.inverse.classical import inverse_kernel
from learnmm_esi.inverse.scaling import amplitude, normalized
from learnmm_esi.networks.settings import Start
from learnmm_esi.networks.start import LearnedStart
from learnmm_esi.sources import SourceModel


class LearnedEnergy(nn.Module):
    """``1 - cos(A x, y) + w (1 - cos(x, Phi(x)))`` (MM-Net Eq. 8), with ``Phi`` and ``w`` learned.

    ``Phi`` is a convolutional autoencoder over time, sources -> `width` -> `width` -> sources,
    without biases.

    Parameters
    ----------
    model : SourceModel
        Head model: lead field in V/(A m), shape (sensors, sources).
    width : int
        Channels inside the autoencoder.
    kernel : int
        Odd kernel length in samples.
    weight : float
        ``w`` at first, positive; 1 in the paper.
    learn_weight : bool
        Whether ``w`` is learned from there.
    start : {"learned", "sLORETA", "MNE", "noise"}
        Where iterates start: a network on the maps of a linear estimate (see `LearnedStart`), the
        linear estimate, or ``1e-3 N(0, 1) / max`` (the paper's).
    form, cosine_bound, prior_bound
        Of the bounds, see `learnmm.MatrixMap`, `learnmm.CosineDistance` and
        `learnmm.AutoencoderPrior`.
    """

    matrix: Tensor
    kernel: Tensor

    def __init__(
        self,
        model: SourceModel,
        *,
        width: int = 128,
        kernel: int = 3,
        weight: float = 1.0,
        learn_weight: bool = True,
        start: Start = "sLORETA",
        form: Form | str = Form.STRUCTURED,
        cosine_bound: CosineBound | str = CosineBound.GLOBAL,
        prior_bound: AutoencoderBound | str = AutoencoderBound.SCALAR,
    ) -> None:
        super().__init__()
        leadfield = np.asarray(model.leadfield, dtype=np.float64)
        self.gain = float(np.linalg.norm(leadfield, 2))  # keeps x, y and gradients near one
        # Both follow from the head model, so they move with the module but are not its weights.
        self.register_buffer("matrix", _float(leadfield / self.gain), persistent=False)
        linear = "MNE" if start == "MNE" else "sLORETA"
        self.register_buffer("kernel", _float(inverse_kernel(leadfield, linear)), persistent=False)
        self.autoencoder = autoencoder(leadfield.shape[1], width, kernel)
        self.log_weight = nn.Parameter(torch.tensor(math.log(weight)), requires_grad=learn_weight)
        self.prior = lmm.AutoencoderPrior(self.autoencoder, prior_bound)
        self.initial: Start = start
        self.sharpener = LearnedStart(self.kernel) if start == "learned" else None
        self._form = form
        self._cosine_bound = cosine_bound
        self._map: lmm.MatrixMap | None = None

    @property
    def leadfield(self) -> lmm.MatrixMap:
        """``A``, divided by its norm, on the device of the module."""
        if self._map is None or self._map.matrix.device != self.matrix.device:
            self._map = lmm.MatrixMap(self.matrix, form=self._form)
        return self._map

    @property
    def weight(self) -> Tensor:
        """``w``, a positive number."""
        return self.log_weight.exp()

    def forward(self, sensors: Tensor) -> lmm.Atom:
        """Return the energy of recordings ``(B, sensors, times)``, in any unit."""
        return self.fit(sensors) + self.weight * self.prior

    def fit(self, sensors: Tensor) -> lmm.Atom:
        """Return the data term alone."""
        y = self.normalized(sensors)
        return lmm.CosineDistance(y, self._cosine_bound) @ self.leadfield

    def start(self, sensors: Tensor) -> Tensor:
        """Return the first iterate, ``(B, sources, times)``, its largest entry one.

        Noise is the same for every recording and every call, so that a result can be repeated.
        """
        y = self.normalized(sensors)
        if self.initial == "noise":
            generator = torch.Generator().manual_seed(0)
            noise = torch.randn(self.matrix.shape[1], y.shape[2], generator=generator)
            noise = 1e-3 * noise / noise.abs().max()
            return noise.to(y).expand(len(y), -1, -1).clone()
        x = self.kernel @ y if self.sharpener is None else self.sharpener(y)
        return peak_one(x)

    def terms(self, x: Tensor, sensors: Tensor) -> tuple[Tensor, Tensor]:
        """Data term and (unweighted) prior term at ``x``, ``(B,)`` each."""
        return self.fit(sensors)(x), self.prior(x)

    def normalized(self, sensors: ArrayLike | Tensor) -> Tensor:
        """Check recordings and scale each to norm one.

        Raises
        ------
        ValueError
            If their shape does not fit, or one is zero or not finite.
        """
        return normalized("LearnedEnergy", sensors, self.leadfield)

    def amplitude(self, x: Tensor, sensors: ArrayLike | Tensor) -> NDArray[np.float32]:
        """Scale estimates to the recordings by least squares, giving A m."""
        return amplitude(x, sensors, self.leadfield, self.gain)


def autoencoder(sources: int, width: int, kernel: int) -> nn.Sequential:
    """Return ``Phi``: sources -> `width` -> `width` -> sources, convolutions over time."""
    pad = kernel // 2
    return nn.Sequential(
        nn.Conv1d(sources, width, kernel, padding=pad, bias=False),
        lmm.SoftReLU(),
        nn.Conv1d(width, width, kernel, padding=pad, bias=False),
        lmm.SoftReLU(),
        nn.Conv1d(width, sources, kernel, padding=pad, bias=False),
    )


def peak_one(x: Tensor) -> Tensor:
    """Scale every array of ``(batch, sources, times)`` to a largest entry of one.

    The scale of an iterate is free but for the bends of the autoencoder, which is shown truths of
    this scale.
    """
    return x / x.abs().amax((1, 2), keepdim=True)


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
