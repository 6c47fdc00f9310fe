"""The metrics of Table I for several patches: those of each seed, averaged over the seeds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from learnmm_esi.metrics.checks import as_array, checked_pair, checked_seeds, listed
from learnmm_esi.metrics.ranking import roc_auc
from learnmm_esi.metrics.single import Evaluator, SourceMetrics
from learnmm_esi.sources import SourceModel

__all__ = ["PerSeedEvaluator", "PerSeedMetrics"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PerSeedMetrics(SourceMetrics):
    """Metrics of a batch of estimates of several patches, one number per sample.

    Those of `SourceMetrics` are means over the seeds that count; their AUC is that of all patches
    together.

    Attributes
    ----------
    auc_of_patch : ndarray of float64, shape (batch,)
        Area under the ROC curve of each patch alone against the regions of no patch.
    """

    auc_of_patch: Floats


class PerSeedEvaluator:
    """Compare estimates of several patches with the truth on one head model, seed by seed.

    Parameters
    ----------
    model : SourceModel
        The head model: positions in metres and the neighbour graph.
    sfreq : float
        Sampling rate in Hz.
    window_hops : int, default 7
        How far from a true seed, in edges, its peak of an estimate may be found for LE and TE.

    Notes
    -----
    Every metric is that of `Evaluator` for one seed, averaged over the seeds of a sample, where

    - the peak of an estimate near a seed is not searched for in regions that only other patches
      have;
    - of patches that share regions only the one counts whose seed is stronger, ``max_t |x[s, t]|``;
      of equal ones the first.

    The AUC at a seed's peak takes the regions of all patches for active: another patch may be
    silent at that time, and no estimate finds it then. That of the patch alone does not ask for
    it.
    """

    def __init__(self, model: SourceModel, sfreq: float, window_hops: int = 7) -> None:
        self._of_one_seed = Evaluator(model, sfreq, window_hops)
        self._regions = len(model.positions)

    def __call__(
        self, truth: Any, estimate: Any, seed_sources: ArrayLike, patches: ArrayLike
    ) -> PerSeedMetrics:
        """Evaluate a batch.

        Parameters
        ----------
        truth, estimate : ndarray or torch.Tensor, shape (batch, sources, times)
            Any unit; a single sample of shape (sources, times) is a batch of one.
        seed_sources : array of int, shape (batch, seeds)
            True seed regions of each sample, filled up with -1, as those of a `Sample`.
        patches : array of bool, shape (batch, seeds, sources)
            The regions of each seed's patch, as those of a `Sample`.

        Returns
        -------
        PerSeedMetrics

        Raises
        ------
        ValueError
            If shapes disagree, a sample has no seed, a seed is outside its patch, or for what
            `Evaluator` refuses.
        IndexError
            If a seed is not a region.
        """
        truth, estimate = checked_pair("PerSeedEvaluator", truth, estimate, self._regions)
        seeds, masks = self._checked(seed_sources, patches, len(truth))
        counts = _counting(truth, seeds, masks)
        sums = np.zeros((len(fields(PerSeedMetrics)), len(truth)))
        for number in range(seeds.shape[1]):
            rows = np.flatnonzero(counts[:, number])
            if len(rows) == 0:
                continue
            own, every = masks[rows, number], np.asarray(masks[rows].any(axis=1))
            x, y, s = truth[rows], estimate[rows], seeds[rows, number]
            found = self._of_one_seed(x, y, s, left_out=every & ~own)
            values = [getattr(found, f.name) for f in fields(SourceMetrics)]
            sums[:, rows] += [*values, _auc_of_patch(x, y, s, own, every)]
        return PerSeedMetrics(*(sums / counts.sum(axis=1)))

    def _checked(
        self, seed_sources: ArrayLike, patches: ArrayLike, batch: int
    ) -> tuple[NDArray[np.int64], Mask]:
        seeds = checked_seeds("PerSeedEvaluator", seed_sources, batch, self._regions)
        masks, n = as_array(patches), self._regions
        if masks.shape != (*seeds.shape, n) or masks.dtype != bool:
            raise ValueError(
                f"PerSeedEvaluator: patches must be booleans of shape {(*seeds.shape, n)}, "
                f"got shape {masks.shape} of {masks.dtype}"
            )
        inside = np.take_along_axis(masks, np.maximum(seeds, 0)[:, :, None], axis=2)[:, :, 0]
        outside = ((seeds >= 0) & ~inside).any(axis=1)
        if outside.any():
            raise ValueError(
                f"PerSeedEvaluator: a seed is not in its patch in samples {listed(outside)}"
            )
        return seeds, masks & (seeds >= 0)[:, :, None]


def _counting(truth: NDArray[Any], seeds: NDArray[np.int64], masks: Mask) -> Mask:
    """Which seeds count: those whose patches share no region with a stronger seed's."""
    sample = np.arange(len(seeds))[:, None]
    strength = np.abs(truth[sample, np.maximum(seeds, 0)]).max(axis=2)  # (B, P)
    strength = np.where(seeds >= 0, strength, -1.0)
    shared = (masks[:, :, None] & masks[:, None]).any(axis=3)  # (B, P, P)
    earlier = np.tri(seeds.shape[1], k=-1, dtype=bool)  # of p, those before it
    stronger = (strength[:, None] > strength[:, :, None]) | (
        (strength[:, None] == strength[:, :, None]) & earlier
    )
    counts: Mask = (seeds >= 0) & ~(shared & stronger).any(axis=2)
    return counts


def _auc_of_patch(
    truth: NDArray[Any], estimate: NDArray[Any], seeds: NDArray[np.int64], own: Mask, every: Mask
) -> Floats:
    """AUC at a seed's peak of its patch against the regions of no patch."""
    areas = np.empty(len(seeds))
    for b, seed in enumerate(seeds):
        time = int(np.abs(truth[b, seed]).argmax())
        judged = own[b] | ~every[b]
        score = np.abs(estimate[b, judged, time].astype(np.float64))
        areas[b] = roc_auc(own[b, judged][None], score[None])[0]
    return areas
