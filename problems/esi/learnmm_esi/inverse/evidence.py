"""Sources of patches whose strengths follow from the recording and its noise: nothing is to be set.

The solver that learns nothing from examples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

import learnmm as lmm
from learnmm_esi.inverse.classical import check_silent
from learnmm_esi.inverse.energy import Reconstruction, check_size, heat_kernel
from learnmm_esi.inverse.marginal import ConvexBounding, MarginalLikelihood
from learnmm_esi.inverse.noise import NoiseEstimate, NoiseModes, estimate_noise
from learnmm_esi.inverse.scaling import OnLeadfield
from learnmm_esi.inverse.signal_components import SignalComponents, signal_components
from learnmm_esi.sources import SourceModel

__all__ = ["EvidenceEnergy", "EvidenceProblem"]

_LEAST = 0.01  # of the noise: what is left of a recording that has less power than its noise


class EvidenceProblem(NamedTuple):
    """The optimization problem of a batch of recordings.

    Attributes
    ----------
    objective : MarginalLikelihood
        What is minimized over the deviations of the patches.
    proposer : ConvexBounding
        What proposes steps.
    start : Tensor, shape (batch, sources)
        First deviations.
    components : SignalComponents
        What stands out of the noise, in units of the noise's deviation.
    noise : NoiseEstimate
        Of the recordings.
    """

    objective: MarginalLikelihood
    proposer: ConvexBounding
    start: Tensor
    components: SignalComponents
    noise: NoiseEstimate


class EvidenceEnergy(OnLeadfield):
    """Patches of cortex whose strengths are the most probable ones, given the noise.

    A recording is ``y = L S u + e``: a patch around each source, the rows of the diffusion ``S``
    along the cortical neighbour graph; their moments ``u_j``, normal with deviations ``q_j`` to be
    found; white noise ``e``, whose power the recording itself tells (`estimate_noise`). Deviations
    are those of the largest marginal likelihood (see `MarginalLikelihood`), which leaves most
    patches none; the estimate is the mean of ``S u`` given ``y`` and the deviations. So the weight
    of the prior follows from the noise, source by source, and serves any electrodes and any number
    of samples. Components of the recording that do not stand out of the noise are left out.

    Parameters
    ----------
    model : SourceModel
        Head model: lead field in V/(A m), for whitened recordings whitened too, and neighbours.
    diffusion : float
        How far a patch ``S = exp(-diffusion L / d)`` spreads, in neighbours squared (see
        `heat_kernel`).
    dtype : torch.dtype
        Working precision.

    Raises
    ------
    ValueError
        If diffusion is not positive, there are more sources than a dense matrix serves, or no
        sensor sees some of them.

    Notes
    -----
    The start knows what the sensors can tell: the standardized power ``z_j`` of the patches
    (sLORETA with the regularization that the noise asks for) has no depth bias, and the first
    variances are proportional to ``z_j^2``.
    """

    def __init__(
        self, model: SourceModel, diffusion: float = 3.0, dtype: torch.dtype = torch.float64
    ) -> None:
        if not diffusion > 0:
            raise ValueError(f"EvidenceEnergy: diffusion must be positive, got {diffusion}")
        leadfield = np.asarray(model.leadfield, dtype=np.float64)
        check_size(leadfield.shape[1])
        check_silent("EvidenceEnergy: leadfield", leadfield - leadfield.mean(axis=0))
        super().__init__(leadfield, dtype)
        self.modes = NoiseModes.of(leadfield)
        patches = torch.tensor(heat_kernel(model.neighbours, diffusion))
        seen = self.modes.vectors.mT @ torch.tensor(leadfield / self._gain) @ patches
        size = torch.linalg.vector_norm(seen, dim=0)
        self._vectors = self.modes.vectors.to(dtype)
        # Columns of norm one: all deviations start alike, and none is favoured for its depth.
        self._matrix, self._patches = (seen / size).to(dtype), (patches / size).to(dtype)

    def problem(self, sensors: ArrayLike | Tensor) -> EvidenceProblem:
        """Return the optimization problem of recordings ``(batch, sensors, times)``, in any unit.

        Raises
        ------
        ValueError
            If their shape does not fit, or one is zero or not finite.
        """
        y = self.normalized(sensors)
        noise = estimate_noise(y, self.modes)
        y = self._vectors.mT @ y  # (B, modes, times)
        power = y.square().sum((1, 2))
        deviation = (noise.share * power / y[0].numel()).sqrt()
        parts = signal_components(y / deviation[:, None, None], torch.ones_like(deviation))
        objective = MarginalLikelihood(self._matrix, parts.values, parts.rank)
        start = _start(objective)
        return EvidenceProblem(objective, ConvexBounding(objective), start, parts, noise)

    def sources(self, problem: EvidenceProblem, deviations: Tensor) -> Tensor:
        """Return the estimates for deviations, ``(batch, sources, times)``, up to their scale."""
        moments = self._patches @ problem.objective.mean(deviations)
        sources: Tensor = moments @ problem.components.courses
        return sources

    def reconstruct(
        self, sensors: ArrayLike | Tensor, *, max_iter: int = 30, progress: bool = False
    ) -> Reconstruction:
        """Maximize the marginal likelihood by majorize-minimize steps.

        Parameters
        ----------
        sensors : array or Tensor, shape (batch, sensors, times)
            Average-referenced recordings in V.
        max_iter : int
            Limit on steps.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Reconstruction
        """
        problem = self.problem(sensors)
        optimizer = lmm.ProjectedMMOptimizer(
            problem.objective,
            proposer=problem.proposer,
            settings=lmm.SolveSettings(max_iter=max_iter, rtol=1e-5),
        )
        result = optimizer.minimize(problem.start, history=True, progress=progress)
        estimate = self.amplitude(self.sources(problem, result.x), sensors)
        return Reconstruction(estimate, result, noise=problem.noise)


def _start(objective: MarginalLikelihood) -> Tensor:
    """Deviations as sharp as the standardized power, as strong as the recording."""
    modes, sources = objective.matrix.shape
    power = objective.samples.square().sum((1, 2)) / objective.count
    level = (power - modes).clamp(min=_LEAST * modes) / sources  # the trace of A A^T is `sources`
    alike = level.sqrt()[:, None].expand(-1, sources)
    sharp = objective.standardized(alike)
    return alike * sharp / sharp.square().mean(1, keepdim=True).sqrt()
