"""How well an estimate finds several sources at once: their places, extents and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from learnmm_esi.metrics.amplitude import peak_signal_to_noise
from learnmm_esi.metrics.checks import checked_pair, checked_seeds, listed
from learnmm_esi.metrics.peaks import Peaks, matched_distances
from learnmm_esi.metrics.per_sample import PerSample
from learnmm_esi.metrics.ranking import average_precision, roc_auc
from learnmm_esi.metrics.transport import earth_movers_distance
from learnmm_esi.sources import SourceModel

__all__ = ["SeveralEvaluator", "SeveralMetrics"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeveralMetrics(PerSample):
    """Metrics of a batch of estimates of several sources, one number per sample.

    Attributes
    ----------
    localization_error : ndarray of float64, shape (batch,)
        Mean distance in mm of the true seeds to the peaks that stand for them.
    transport : ndarray of float64, shape (batch,)
        Earth mover's distance in mm.
    dispersion : ndarray of float64, shape (batch,)
        Spatial dispersion around the active regions in mm.
    average_precision : ndarray of float64, shape (batch,)
        In [0, 1]; one is best.
    auc : ndarray of float64, shape (batch,)
        Area under the ROC curve, in [0, 1].
    psnr : ndarray of float64, shape (batch,)
        Peak signal-to-noise ratio in dB; infinite for an estimate proportional to the truth.
    """

    localization_error: Floats
    transport: Floats
    dispersion: Floats
    average_precision: Floats
    auc: Floats
    psnr: Floats


class SeveralEvaluator:
    """Compare estimates of any number of sources with the truth on one head model.

    Parameters
    ----------
    model : SourceModel
        The head model: positions in metres and the neighbour graph.

    Notes
    -----
    Sources need not peak together, so all but PSNR look at the root mean square over time, ``u``
    of the truth and ``v`` of the estimate; ``d`` are straight distances between regions in mm, and
    the active regions are those with ``u > 0``.

    - Localization error: the peaks of ``v`` are the local maxima over the neighbour graph of at
      least `PEAK_FRACTION` of the largest value, the strongest first, as many as there are true
      seeds. Seeds and peaks are paired with the least sum of distances, and where peaks are fewer,
      the seeds left over are charged their distance to the nearest of all peaks (see
      `matched_distances`); the mean over the seeds.
    - Transport: `earth_movers_distance` between ``u / sum(u)`` and ``v / sum(v)``.
    - Dispersion: ``sqrt(sum_i v_i^2 d_i^2 / sum_i v_i^2)``, ``d_i`` the distance to the nearest
      active region (after Molins et al. 2008).
    - `average_precision` and `roc_auc` of the score ``v`` for the active regions.
    - `peak_signal_to_noise` over regions and times, as in `Evaluator`.

    None of them sees the scale of the estimate, or the order of the seeds.
    """

    def __init__(self, model: SourceModel) -> None:
        positions = 1e3 * np.asarray(model.positions, dtype=np.float64)
        self._distances: Floats = cdist(positions, positions)
        self._peaks = Peaks(model.neighbours)

    def __call__(self, truth: Any, estimate: Any, seed_sources: ArrayLike) -> SeveralMetrics:
        """Evaluate a batch.

        Parameters
        ----------
        truth, estimate : ndarray or torch.Tensor, shape (batch, sources, times)
            Any unit; a single sample of shape (sources, times) is a batch of one.
        seed_sources : array of int, shape (batch, seeds)
            True seed regions of each sample, filled up with -1, as those of a `Sample`.

        Returns
        -------
        SeveralMetrics

        Raises
        ------
        ValueError
            If shapes disagree, a value is not finite, an estimate is zero everywhere, a sample has
            no seed or one twice, or the truth is silent at a seed, or nowhere.
        IndexError
            If a seed is not a region.
        """
        truth, estimate = checked_pair("SeveralEvaluator", truth, estimate, len(self._distances))
        seeds = self._checked_seeds(seed_sources, len(truth))
        true_map, found_map = _root_mean_square(truth), _root_mean_square(estimate)  # (B, n)
        self._check_maps(true_map, found_map, seeds)
        active = true_map > 0.0
        return SeveralMetrics(
            localization_error=self._localization_error(found_map, seeds),
            transport=earth_movers_distance(true_map, found_map, self._distances),
            dispersion=self._dispersion(active, found_map),
            average_precision=average_precision(active, found_map),
            auc=roc_auc(active, found_map),
            psnr=peak_signal_to_noise(truth, estimate),
        )

    def _localization_error(self, found_map: Floats, seeds: NDArray[np.int64]) -> Floats:
        counts = (seeds >= 0).sum(axis=1)
        peaks = self._peaks(found_map, int(counts.max()))
        errors = np.empty(len(seeds))
        for sample, count in enumerate(counts):
            true, found = seeds[sample], peaks[sample, :count]
            apart = self._distances[np.ix_(true[true >= 0], found[found >= 0])]
            errors[sample] = matched_distances(apart).mean()
        return errors

    def _dispersion(self, active: NDArray[np.bool_], found_map: Floats) -> Floats:
        nearest = np.stack([self._distances[row].min(axis=0) for row in active])  # (B, n)
        power = found_map**2
        spread: Floats = np.sqrt((power * nearest**2).sum(axis=1) / power.sum(axis=1))
        return spread

    def _checked_seeds(self, seed_sources: ArrayLike, batch: int) -> NDArray[np.int64]:
        seeds = checked_seeds("SeveralEvaluator", seed_sources, batch, len(self._distances))
        ordered = np.sort(seeds, axis=1)
        twice = ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0)).any(axis=1)
        if twice.any():
            raise ValueError(f"SeveralEvaluator: a seed is named twice in samples {listed(twice)}")
        return seeds

    @staticmethod
    def _check_maps(true_map: Floats, found_map: Floats, seeds: NDArray[np.int64]) -> None:
        at_seeds = np.take_along_axis(true_map, np.maximum(seeds, 0), axis=1)
        problems = (
            (((at_seeds == 0.0) & (seeds >= 0)).any(axis=1), "the truth is zero at a seed"),
            ((true_map > 0.0).all(axis=1), "every region is active, so AUC is undefined,"),
            (~found_map.any(axis=1), "the estimate is zero everywhere"),
        )
        for mask, message in problems:
            if mask.any():
                raise ValueError(f"SeveralEvaluator: {message} in samples {listed(mask)}")


def _root_mean_square(value: NDArray[Any]) -> Floats:
    """Over time, at a scale at which no square under- or overflows."""
    scale = np.abs(value).max(axis=(1, 2), keepdims=True).astype(np.float64)
    scaled = value / np.where(scale > 0.0, scale, 1.0)
    root: Floats = np.sqrt(np.mean(scaled**2, axis=2, dtype=np.float64))
    return root
