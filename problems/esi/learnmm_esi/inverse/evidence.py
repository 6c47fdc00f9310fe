"""Sources of patches whose strengths follow from the recording and its noise: nothing is to be set.

The solver that learns nothing from examples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

import learnmm as lmm
from learnmm_esi.inverse.classical import check_silent
from learnmm_esi.inverse.energy import Reconstruction, check_size, heat_kernel
from learnmm_esi.inverse.fit import GUIDED, UNGUIDED
from learnmm_esi.inverse.likely_patches import Dictionary, Patches, likely_patches
from learnmm_esi.inverse.marginal import ConvexBounding, MarginalLikelihood
from learnmm_esi.inverse.noise import NoiseEstimate, NoiseModes
from learnmm_esi.inverse.noise_spectrum import whitened_in_time
from learnmm_esi.inverse.scaling import OnLeadfield
from learnmm_esi.inverse.signal_components import SignalComponents, signal_components
from learnmm_esi.sources import SourceModel

__all__ = ["EvidenceEnergy", "EvidenceProblem"]

DIFFUSIONS = (0.0, 1.0, 4.0, 12.0)
"""Widths of patches, from a single region on."""

MISFIT, ELSEWHERE = 0.2, 0.6
"""Of a recording's signal, what no patch explains: as white noise, for heads, electrodes and shapes
of patches are known no better, and as seen of sources everywhere alike, for a cortex is not silent
elsewhere. Without them, patches are invented for the rest at high signal-to-noise ratios and in
ongoing activity."""

LASTING = 0.04
"""Of what no patch explains in the samples that a component gathers, what is the same in all, as
the error of a head is; the rest averages out. It counts where it is more than what one sample has.
Without it, patches are invented in long recordings: the longer, the more."""

UNEXPECTED = 1e-4
"""Of the most probable place, what every place has at least: an expectation may be wrong."""


class EvidenceProblem(NamedTuple):
    """The optimization problem of a batch of recordings.

    Attributes
    ----------
    objective : MarginalLikelihood
        What is minimized over how much stronger than at first the patches are.
    proposer : ConvexBounding
        What proposes steps.
    start : Tensor, shape (batch, patches)
        One for the patches that a recording asks for, zero for the others.
    patches : Patches
        Where patches are, and how strong at first.
    components : SignalComponents
        What stands out of the noise, in units of the noise's deviation.
    noise : NoiseEstimate
        Of the recordings.
    """

    objective: MarginalLikelihood
    proposer: ConvexBounding
    start: Tensor
    patches: Patches
    components: SignalComponents
    noise: NoiseEstimate


class EvidenceEnergy(OnLeadfield):
    """Few patches of cortex, as many, as wide and as strong as is most probable given the noise.

    A recording is ``y = L S u + e``: patches of several widths around each source, the rows of
    diffusions ``S`` along the cortical neighbour graph, with moments ``u``; noise ``e``, whose
    power and spectrum the recording itself tells (`estimate_noise`, `whitened_in_time`: samples of
    a filtered recording are not independent), and a floor for all that the model does not know
    (`MISFIT`, `ELSEWHERE`, `LASTING`). Patches are taken one after another while the evidence asks
    for more, each spread over the places and widths that it leaves probable, beside ongoing
    activity of the whole cortex where there is some (`likely_patches`). Beside a patch that is seen
    better, those are the more probable, the weaker their sources would be. Then steps raise the
    marginal likelihood over their strengths (see `MarginalLikelihood`); the estimate is the mean of
    ``S u`` given ``y`` and the strengths. So the weight of the prior follows from the noise, and
    serves any electrodes, any number of samples and any filter. Components of the recording that do
    not stand out of the noise are left out.

    Parameters
    ----------
    model : SourceModel
        Head model: lead field in V/(A m), for whitened recordings whitened too, and neighbours.
    diffusion : float or tuple of float
        How far patches ``S = exp(-diffusion L / d)`` spread, in neighbours squared (see
        `heat_kernel`); zero is a single region.
    dtype : torch.dtype
        Working precision.

    Raises
    ------
    ValueError
        If there is no diffusion or one is negative, there are more sources than a dense matrix
        serves, or no sensor sees some of them.
    """

    def __init__(
        self,
        model: SourceModel,
        diffusion: float | tuple[float, ...] = DIFFUSIONS,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        widths = diffusion if isinstance(diffusion, tuple) else (diffusion,)
        if not widths or not all(width >= 0 for width in widths):
            raise ValueError(f"EvidenceEnergy: diffusion must not be negative, got {diffusion}")
        gain = _checked(model.leadfield)
        check_size("EvidenceEnergy", gain.shape[1])
        shapes = np.hstack([heat_kernel(model.neighbours, width) for width in widths])
        self._patches = torch.tensor(shapes, dtype=dtype)
        self.see(gain)

    def see(self, leadfield: ArrayLike) -> None:
        """Take another lead field: the same sources, any channels.

        Parameters
        ----------
        leadfield : array, shape (sensors, sources)
            V/(A m), for whitened recordings whitened too.

        Raises
        ------
        ValueError
            If its sources are others, or no sensor sees some of them.
        """
        gain = _checked(leadfield)
        if len(self._patches) != gain.shape[1]:
            raise ValueError(
                f"EvidenceEnergy: expected a lead field of {len(self._patches)} sources, "
                f"got shape {gain.shape}"
            )
        dtype = self._patches.dtype
        super().__init__(gain, dtype)
        self.modes = NoiseModes.of(gain)
        seen = self.modes.vectors.mT @ torch.tensor(gain / self._gain) @ self._patches.double()
        size = torch.linalg.vector_norm(seen, dim=0)
        # Columns of norm one: all deviations start alike, and none is favoured for its depth.
        self._size = size[:, None].to(dtype)
        peaks = self._patches.amax(0) / (size / size.max()).to(dtype)
        everywhere = self.modes.values.to(dtype)  # of mean one
        self._dictionary = Dictionary((seen / size).to(dtype), peaks, everywhere)

    def problem(
        self, sensors: ArrayLike | Tensor, expected: ArrayLike | Tensor | None = None
    ) -> EvidenceProblem:
        """Return the optimization problem of recordings ``(batch, sensors, times)``, in any unit.

        Parameters
        ----------
        sensors : array or Tensor, shape (batch, sensors, times)
            Average-referenced recordings.
        expected : array or Tensor, shape (batch, sources), optional
            How probable each source is as the middle of a patch, up to a scale, before the
            recording is looked at; none is taken for less than `UNEXPECTED` of the largest.
            Default: all are alike.

        Raises
        ------
        ValueError
            If shapes do not fit, a recording is zero or not finite, or what is expected is negative
            or not finite.
        """
        y = self.normalized(sensors)
        prior = None if expected is None else self._logarithm(expected, len(y))
        white = whitened_in_time(y, self.modes)
        parts = signal_components(white.y / white.deviation[:, None, None], white.independent)
        parts = parts._replace(courses=white.restored(parts.courses))
        signal = (1 - white.noise.share) / white.noise.share
        known = self._dictionary
        floor = 1 + _unexplained(signal, white.independent / parts.rank, known.everywhere)
        patches = likely_patches(known, parts.values, parts.rank, floor, prior)
        floor = patches.floor(floor, known.everywhere)
        columns = patches.columns(known.matrix)
        objective = MarginalLikelihood(columns, parts.values, parts.rank, floor)
        start = patches.asked.to(y)
        proposer = ConvexBounding(objective)
        return EvidenceProblem(objective, proposer, start, patches, parts, white.told)

    def _logarithm(self, expected: ArrayLike | Tensor, batch: int) -> Tensor:
        """What is expected of each patch: that of its middle."""
        matrix = self._dictionary.matrix
        p = torch.as_tensor(expected, dtype=matrix.dtype, device=matrix.device)
        sources = len(self._patches)
        if p.shape != (batch, sources):
            raise ValueError(
                f"EvidenceEnergy: what is expected must have shape ({batch}, {sources}), got "
                f"{tuple(p.shape)}"
            )
        if not bool((p.isfinite() & (p >= 0)).all()):
            raise ValueError("EvidenceEnergy: what is expected must be finite and not negative")
        top = p.amax(1, keepdim=True)
        share = torch.where(top > 0, p / top, torch.ones_like(p))
        return share.clamp(min=UNEXPECTED).log().repeat(1, matrix.shape[1] // sources)

    def sources(self, problem: EvidenceProblem, strengths: Tensor) -> Tensor:
        """Return the estimates for strengths, ``(batch, sources, times)``, up to their scale."""
        patches, parts = problem.patches, problem.components
        moments = patches.deviations[..., None] * problem.objective.mean(strengths)
        moments = moments.flatten(1, 2)  # (B, places of all patches, components)
        places = patches.places.flatten(1)[..., None].expand_as(moments)
        everywhere = moments.new_zeros(len(moments), self._patches.shape[1], moments.shape[2])
        everywhere = everywhere.scatter_add(1, places, moments) / self._size
        sources: Tensor = self._patches @ everywhere @ parts.courses
        return sources

    def solve(
        self, problem: EvidenceProblem, *, max_iter: int = 30, progress: bool = False
    ) -> lmm.Result:
        """Maximize the marginal likelihood over the strengths of patches; see `reconstruct`."""
        optimizer = lmm.ProjectedMMOptimizer(
            problem.objective,
            proposer=problem.proposer,
            settings=lmm.SolveSettings(max_iter=max_iter, rtol=1e-5),
        )
        return optimizer.minimize(problem.start, history=True, progress=progress)

    def reconstruct(
        self,
        sensors: ArrayLike | Tensor,
        *,
        expected: ArrayLike | Tensor | None = None,
        max_iter: int = 30,
        progress: bool = False,
    ) -> Reconstruction:
        """Maximize the marginal likelihood by majorize-minimize steps.

        Parameters
        ----------
        sensors : array or Tensor, shape (batch, sensors, times)
            Average-referenced recordings in V.
        expected : array or Tensor, shape (batch, sources), optional
            Where patches are expected, see `problem`.
        max_iter : int
            Limit on steps.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Reconstruction
        """
        problem = self.problem(sensors, expected)
        result = self.solve(problem, max_iter=max_iter, progress=progress)
        estimate = self.amplitude(self.sources(problem, result.x), sensors)
        told = UNGUIDED if expected is None else GUIDED
        return Reconstruction(estimate, result, noise=problem.noise, start=told)


def _unexplained(signal: Tensor, gathered: Tensor, everywhere: Tensor) -> Tensor:
    """Variances of what no patch explains, of a component that gathers so many samples.

    `signal`: its power per mode and sample, in units of the noise's, ``(batch,)``.
    """
    share = MISFIT + ELSEWHERE * everywhere
    return (signal * (LASTING * gathered).clamp(min=1.0))[:, None] * share


def _checked(leadfield: ArrayLike) -> NDArray[np.float64]:
    gain = np.asarray(leadfield, dtype=np.float64)
    check_silent("EvidenceEnergy: leadfield", gain - gain.mean(axis=0))
    return gain
