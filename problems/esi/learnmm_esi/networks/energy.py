"""The energy whose prior is learned: fit of the recording's shape plus an autoencoder's opinion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

import learnmm as lmm
from learnmm.atoms import AutoencoderBound, CosineBound
from learnmm.linear import Form
from learnmm.storage import short
from learnmm_esi.inverse.classical import check_silent, inverse_kernel
from learnmm_esi.inverse.noise import estimate_noise
from learnmm_esi.inverse.scaling import amplitude, normalized
from learnmm_esi.networks.components import Components
from learnmm_esi.networks.evidence_start import EvidenceStart
from learnmm_esi.networks.sight import Look, Sight, look, sight_of
from learnmm_esi.networks.start import LearnedStart
from learnmm_esi.networks.verdict import Verdict, facts, linear_start
from learnmm_esi.settings import check_not_negative, check_positive, check_size
from learnmm_esi.sources import SourceModel

Start = Literal["learned", "evidence", "sLORETA", "MNE", "noise"]

PREPARED = ("learned", "evidence")
"""Starts near enough to the truth for the prior to learn before the steps do, and to stay near."""

WEIGHT = 20.0
"""Of the prior, and of the start as a reference, of an energy with such a start."""


@dataclass(frozen=True)
class PriorSettings:
    """The learned prior of an energy, ``w (1 - cos(x, Phi(x)))``.

    Parameters
    ----------
    width : int
        Channels inside the autoencoder (128 in the paper).
    reach : int
        Its kernel length in samples, odd (3 in the paper, for about as many weights).
    weight : float, optional
        ``w`` at first, positive (1 in the paper). Default: 20 with a start that is learned or from
        the evidence, where the prior has learned too and may hold back the fit of noise; else 1.
    learn_weight : bool
        Whether ``w`` is learned from there.
    reference : float, optional
        Weight ``r`` of the start as a reference, ``r (1 - cos(x, x_0))``: zero or more. Default: 20
        with such a start, which may be left for what fits or is likelier, but not for good; else 0.
    """

    width: int = 384
    reach: int = 1
    weight: float | None = None
    learn_weight: bool = True
    reference: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_size("width", self.width)
        check_size("reach", self.reach, odd=True)
        if self.weight is not None:
            check_positive("weight", self.weight)
        if not isinstance(self.learn_weight, bool):
            raise ValueError(f"learn_weight must be true or false, got {short(self.learn_weight)}")
        if self.reference is not None:
            check_not_negative("reference", self.reference)

    def first_weight(self, start: Start) -> float:
        """``w`` at first, of an energy that is started there."""
        if self.weight is not None:
            return self.weight
        return WEIGHT if start in PREPARED else 1.0

    def reference_weight(self, start: Start) -> float:
        """``r`` of an energy that is started there."""
        if self.reference is not None:
            return self.reference
        return WEIGHT if start in PREPARED else 0.0


@dataclass(frozen=True)
class Bounds:
    """How the bounds of an energy are made.

    Parameters
    ----------
    form, cosine, prior
        See `learnmm.linear.MatrixMap`, `learnmm.CosineDistance` and `learnmm.AutoencoderPrior`.
    """

    form: Form = Form.STRUCTURED
    cosine: CosineBound = CosineBound.GLOBAL
    prior: AutoencoderBound = AutoencoderBound.SCALAR


class LearnedEnergy(nn.Module):
    """``1 - cos(A x, y) + w (1 - cos(x, Phi(x)))`` (MM-Net Eq. 8), with ``Phi`` and ``w`` learned.

    From a start that is near the truth another term is added, ``r (1 - cos(x, x_0))``: without it
    the minimizers are worse than the start, and many steps lose what it knew. With it, descent from
    ``x_0`` keeps ``r (1 - cos(x_k, x_0))`` below fit and prior of the start.

    ``Phi`` is a convolutional autoencoder over time, sources -> `width` -> `width` -> sources,
    without biases. With a learned start ``w`` follows from the recording: ``log w`` is linear in
    its estimated signal-to-noise ratio and in the logarithm of the number of modes that its cap
    sees.

    Weights belong to the sources. What follows from a head model is replaced by `see`.

    Parameters
    ----------
    model : SourceModel
        Head model: lead field in V/(A m), shape (sensors, sources).
    prior : PriorSettings
        ``Phi`` and ``w``.
    start : {"learned", "evidence", "sLORETA", "MNE", "noise"}
        Where iterates start: a network on the maps of a linear estimate (see `LearnedStart`), what
        the library estimates without weights (see `EvidenceEnergy`), the linear estimate, or
        ``1e-3 N(0, 1) / max`` (the paper's).
    bounds : Bounds
        How the bounds of both terms are made.
    """

    matrix: Tensor
    kernel: Tensor
    projection: Tensor
    values: Tensor

    def __init__(
        self, model: SourceModel, prior: PriorSettings, start: Start, bounds: Bounds
    ) -> None:
        super().__init__()
        sources = model.leadfield.shape[1]
        self.autoencoder = autoencoder(sources, prior)
        weight = torch.tensor(math.log(prior.first_weight(start)))
        self.log_weight = nn.Parameter(weight, requires_grad=prior.learn_weight)
        self.prior = lmm.AutoencoderPrior(self.autoencoder, bounds.prior)
        self.reference = prior.reference_weight(start)
        self.initial: Start = start
        self._sources = model
        self.sharpener = LearnedStart(sources) if start == "learned" else None
        self.verdict = Verdict() if start == "learned" else None
        if start == "learned":
            self.weight_slopes = nn.Parameter(torch.zeros(2), requires_grad=prior.learn_weight)
        self._bounds = bounds
        self._evidence: EvidenceStart | None = None
        self.see(model.leadfield)

    def see(self, leadfield: ArrayLike) -> None:
        """Take another head: the same sources, any channels.

        Parameters
        ----------
        leadfield : array, shape (sensors, sources)
            V/(A m).

        Raises
        ------
        ValueError
            If no sensor sees some of the sources.
        """
        gain = np.asarray(leadfield, dtype=np.float64)
        check_silent("LearnedEnergy: leadfield", gain - gain.mean(axis=0))
        self.gain = float(np.linalg.norm(gain, 2))  # keeps x, y and gradients near one
        like = self.log_weight
        # They follow from the head model, so they move with the module but are not its weights.
        parts = {"matrix": _float(gain / self.gain)}
        if self.initial == "learned":
            self.modes, sight = sight_of(gain)
            parts |= sight._asdict()
        elif self.initial != "noise":
            linear = self.initial if self.initial != "evidence" else "sLORETA"
            parts["kernel"] = _float(inverse_kernel(gain, linear))
        if self.initial == "evidence":
            if self._evidence is None:
                self._evidence = EvidenceStart(self._sources, gain)
            else:
                self._evidence.see(gain)
        for name, tensor in parts.items():
            self.register_buffer(name, tensor.to(like.device), persistent=False)
        self._map: lmm.linear.MatrixMap | None = None

    def fix_start(self) -> None:
        """Leave a learned start as it is, whatever is learned besides from now on."""
        if self.sharpener is not None:
            self.sharpener.requires_grad_(False)

    @property
    def leadfield(self) -> lmm.linear.MatrixMap:
        """``A``, divided by its norm, on the device of the module."""
        if self._map is None or self._map.matrix.device != self.matrix.device:
            self._map = lmm.linear.MatrixMap(self.matrix, form=self._bounds.form)
        return self._map

    @property
    def sight(self) -> Sight:
        """What the cap can see."""
        return Sight(self.projection, self.values)

    def look(self, sensors: Tensor) -> Look:
        """What it has seen of recordings, of an energy with a learned start."""
        with torch.no_grad():
            return look(self.normalized(sensors), self.modes)

    def weight(self, sensors: Tensor) -> Tensor:
        """``w``, a positive number, or one for each recording."""
        if self.initial != "learned":
            return self.log_weight.exp()
        noise = estimate_noise(self.normalized(sensors), self.modes)
        facts = cap_facts(self.sight, noise.snr_db)
        return (self.log_weight + facts @ self.weight_slopes).exp()

    def forward(self, sensors: Tensor) -> lmm.Atom:
        """Return the energy of recordings ``(B, sensors, times)``, in any unit."""
        energy = self.fit(sensors) + self.weight(sensors) * self.prior
        if self.reference == 0:
            return energy
        reference = lmm.CosineDistance(self.start(sensors).detach(), self._bounds.cosine)
        return energy + self.reference * reference

    def fit(self, sensors: Tensor) -> lmm.Atom:
        """Return the data term alone."""
        y = self.normalized(sensors)
        return lmm.CosineDistance(y, self._bounds.cosine) @ self.leadfield

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
        if self.sharpener is not None:
            return peak_one(self.sharpener(self.sight, self.look(y)).sum())
        x = self.kernel @ y
        if self._evidence is not None:
            found = self._evidence(y)
            there = found.isfinite().all(2).all(1) & found.any(2).any(1)
            x = torch.where(there[:, None, None], found, x)
        return peak_one(x)

    def judged_start(self, sensors: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the first iterate, where a learned start is taken only if it earns its place.

        Parameters
        ----------
        sensors : Tensor, shape (B, sensors, times)
            Recordings, in any unit.

        Returns
        -------
        start : Tensor, shape (B, sources, times)
            The learned start, or the linear one of where that was refused.
        accepted : Tensor of bool, shape (B,), or None
            Which learned starts were taken; None if starts are not learned.
        """
        if self.sharpener is None or self.verdict is None:
            return self.start(sensors), None
        seen = self.look(sensors)
        learned, linear = self.sharpener(self.sight, seen), linear_start(self.sight, seen)
        accepted = self.verdict(facts(self.sight, seen, learned))
        chosen = torch.where(accepted[:, None, None], learned.maps, linear.maps)
        return peak_one(Components(chosen, seen.courses).sum()), accepted

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


def cap_facts(sight: Sight, snr_db: Tensor) -> Tensor:
    """Signal-to-noise ratio of recordings and modes of their cap, each near one, ``(B, 2)``."""
    modes = (sight.values > 0).sum().to(snr_db).log() - math.log(64)
    return torch.stack([snr_db / 10, modes.expand(snr_db.shape)], -1)


def autoencoder(sources: int, prior: PriorSettings) -> nn.Sequential:
    """Return ``Phi``: sources -> `width` -> `width` -> sources, convolutions over time."""
    width, kernel, pad = prior.width, prior.reach, prior.reach // 2
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
