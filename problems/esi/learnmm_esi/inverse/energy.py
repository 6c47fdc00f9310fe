"""The source-imaging energy: fit of the recording's shape plus smoothness along the cortex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm
from scipy.sparse import csr_matrix, diags
from torch import Tensor

import learnmm as lmm
from learnmm.atoms import SmootherBound
from learnmm_esi.inverse.classical import inverse_kernel
from learnmm_esi.inverse.noise import NoiseEstimate
from learnmm_esi.inverse.scaling import OnLeadfield, unit_norm
from learnmm_esi.sources import SourceModel

LARGEST = 10_000
"""Sources at most: the smoother is a dense matrix, whose exponential needs ten times its memory."""


@dataclass(frozen=True)
class Reconstruction:
    """Source estimates with what the optimizer certified.

    Attributes
    ----------
    sources : ndarray of float32, shape (batch, sources, times)
        Dipole moments in A m.
    result : learnmm.Result, optional
        In the optimizer's units (see `SourceEnergy` and `EvidenceEnergy`). Without the recordings
        that are `unmoved`; None if all are.
    refused : ndarray of bool, shape (batch,), optional
        Recordings whose learned start did not earn its place. None where no start was learned.
    unmoved : ndarray, shape (refusals,), optional
        The energy of these, whose estimate is the linear one as it is. None where they were solved
        as the others, but unguided.
    noise : NoiseEstimate, optional
        What the recordings' noise was taken to be, where the weight of the prior follows from it.
    start : str
        Where all started, if no start was learned; see `MMFit`.
    """

    sources: NDArray[np.float32]
    result: lmm.Result | None
    refused: NDArray[np.bool_] | None = None
    unmoved: NDArray[np.float64] | None = None
    noise: NoiseEstimate | None = None
    start: str = "linear"


class SourceEnergy(OnLeadfield):
    """``1 - cos(A x, y) + weight (1 - cos(x, S x))`` for every recording ``y`` of a batch.

    ``A`` is the lead field and ``S`` a diffusion along the cortical neighbour graph, the cosines
    running over space and time. The energy has no units: it sees the shape of a recording, not
    its amplitude, which :meth:`reconstruct` restores by least squares.

    Parameters
    ----------
    model : SourceModel
        Head model: lead field in V/(A m) and neighbour graph.
    weight : float
        Of the smoothness term.
    diffusion : float
        How far ``S = exp(-diffusion L / d)`` spreads, in neighbours squared; ``L`` is the graph
        Laplacian and ``d`` the mean number of neighbours.
    bound : {"global", "pointwise"}
        "global": both terms carry `GLOBAL` majorants (Theorems 1 and 3 with ``M = 0``), so every
        step's descent is proved beforehand. "pointwise": the smoothness term's curvature is the
        one at the iterate, relaxed as far as the safeguard allows; descent is verified instead
        of proved, and comes in several times fewer steps.
    dtype : torch.dtype
        Working precision.

    Raises
    ------
    ValueError
        If weight or diffusion is not positive, there are more than `LARGEST` sources, or no sensor
        sees some of them.
    """

    def __init__(
        self,
        model: SourceModel,
        weight: float = 1.0,
        diffusion: float = 10.0,
        bound: SmootherBound | str = SmootherBound.GLOBAL,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not (weight > 0 and diffusion > 0):
            raise ValueError(
                f"SourceEnergy: weight and diffusion must be positive, got {weight}, {diffusion}"
            )
        leadfield = np.asarray(model.leadfield, dtype=np.float64)
        check_size("SourceEnergy", leadfield.shape[1])
        super().__init__(leadfield, dtype)
        # sLORETA has no depth bias, which the energy would only slowly undo.
        self._start = torch.tensor(inverse_kernel(leadfield, "sLORETA"), dtype=dtype)
        self.weight = float(weight)
        smoother = heat_kernel(model.neighbours, diffusion)
        self.smoothness = lmm.LinearSmootherPrior(torch.tensor(smoother, dtype=dtype), bound)

    def __call__(self, sensors: ArrayLike | Tensor) -> lmm.Atom:
        """Return the energy of recordings ``(batch, sensors, times)``, in any unit."""
        fit = lmm.CosineDistance(self.normalized(sensors)) @ self.leadfield
        return fit + self.weight * self.smoothness

    def start(self, sensors: ArrayLike | Tensor) -> Tensor:
        """Return the sLORETA estimate at unit norm, ``(batch, sources, times)``."""
        return unit_norm(self._start @ self.normalized(sensors))

    def reconstruct(
        self, sensors: ArrayLike | Tensor, *, max_iter: int = 60, progress: bool = False
    ) -> Reconstruction:
        """Minimize the energy by majorize-minimize steps.

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
        y = self.normalized(sensors)
        optimizer = lmm.ProjectedMMOptimizer(
            self(y), settings=lmm.SolveSettings(max_iter=max_iter, rtol=1e-5)
        )
        result = optimizer.minimize(self.start(y), history=True, progress=progress)
        return Reconstruction(self.amplitude(result.x, sensors), result)


def check_size(name: str, sources: int) -> None:
    """Refuse more sources than a dense smoother can serve, before anything is allocated.

    Raises
    ------
    ValueError
        Above `LARGEST`, saying how much memory it would take and what to do.
    """
    if sources > LARGEST:
        raise ValueError(
            f"{name} smooths over at most {LARGEST} sources, got {sources}: its dense matrix "
            f"of {sources} x {sources} would take about {80 * sources**2 / 2**30:.0f} GiB to "
            "prepare. Use a coarser source space, such as mne.setup_source_space(spacing='oct5') "
            "or 'ico4', or fsaverage_head_model()"
        )


def heat_kernel(neighbours: csr_matrix, diffusion: float) -> NDArray[np.float64]:
    """``exp(-diffusion L / d)`` of a neighbour graph, ``(sources, sources)``; its norm is one.

    ``L`` is symmetric and positive semidefinite, so all eigenvalues lie in (0, 1], and the
    constant map of every connected part is kept.
    """
    graph = neighbours.astype(np.float64)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    laplacian = (diags(degree) - graph).toarray()
    kernel: NDArray[np.float64] = expm(-diffusion / degree.mean() * laplacian)
    return kernel
