"""How well an estimate of the sources finds the place, the time and the shape of the truth.

The definitions are those of Table I of "Majorization-Minimization Networks for Inverse Problems:
An Application to EEG Imaging"; the global localization error beside them is not in that table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from learnmm.plain import integer, plain
from learnmm_esi.metrics.amplitude import peak_signal_to_noise, unit_peak
from learnmm_esi.metrics.checks import as_array, checked_pair, listed
from learnmm_esi.metrics.per_sample import PerSample
from learnmm_esi.metrics.ranking import roc_auc
from learnmm_esi.settings import check_positive
from learnmm_esi.sources import SourceModel, hop_counts

__all__ = ["Evaluator", "SourceMetrics"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SourceMetrics(PerSample):
    """Metrics of a batch of estimates, one number per sample.

    Attributes
    ----------
    localization_error : ndarray of float64, shape (batch,)
        LE in mm, the estimate's peak searched near the true seed only.
    localization_error_global : ndarray of float64, shape (batch,)
        The same in mm, the peak searched over all regions.
    time_error : ndarray of float64, shape (batch,)
        TE in ms.
    auc : ndarray of float64, shape (batch,)
        Area under the ROC curve, in [0, 1].
    nmse : ndarray of float64, shape (batch,)
        Mean squared error of the maps at the true peak, each divided by its maximum.
    psnr : ndarray of float64, shape (batch,)
        Peak signal-to-noise ratio in dB; infinite for an estimate proportional to the truth.
    """

    localization_error: Floats
    localization_error_global: Floats
    time_error: Floats
    auc: Floats
    nmse: Floats
    psnr: Floats


class Evaluator:
    """Compare estimates with the truth on one head model.

    Parameters
    ----------
    model : SourceModel
        The head model: positions in metres and the neighbour graph.
    sfreq : float
        Sampling rate in Hz.
    window_hops : int, default 7
        How far from the true seed, in edges, the peak of an estimate may be found for LE and TE.

    Notes
    -----
    With ``s`` the true seed, ``x`` the truth, ``y`` the estimate, ``t* = argmax_t |x[s, t]|``,
    ``Z`` the regions within `window_hops` of ``s`` and ``q = argmax_{i in Z} |y[i, t*]|``,

    - ``LE = || position[s] - position[q] ||`` in mm; LE-global takes all regions for ``Z``;
    - ``TE = |t* - argmax_t |y[q, t]||`` in ms;
    - AUC of the score ``|y[:, t*]|`` for the active regions ``|x[:, t*]| > 0``;
    - ``nMSE = mean_i (x[i, t*] / max_i |x[i, t*]| - y[i, t*] / max_i |y[i, t*]|)^2``;
    - ``PSNR = 10 log10((min x' - max y')^2 / mean (x' - y')^2)`` over the whole array, where
      ``x' = x / max |x|`` and ``y' = y / max |y|``.

    Equal maxima count as the first of them. None of the metrics sees the scale of the estimate.
    """

    def __init__(self, model: SourceModel, sfreq: float, window_hops: int = 7):
        check_positive("Evaluator: sfreq", plain(sfreq))
        self.sfreq = float(sfreq)
        self.window_hops = integer("Evaluator: window_hops", window_hops, 0)
        self._positions = np.asarray(model.positions, dtype=np.float64)
        self._hops = hop_counts(model.neighbours)

    def __call__(
        self,
        truth: Any,
        estimate: Any,
        seed_source: ArrayLike,
        left_out: NDArray[np.bool_] | None = None,
    ) -> SourceMetrics:
        """Evaluate a batch.

        Parameters
        ----------
        truth, estimate : ndarray or torch.Tensor, shape (batch, sources, times)
            Any unit; a single sample of shape (sources, times) is a batch of one.
        seed_source : int or array of int, shape (batch,)
            True seed region of each sample. Of several patches it names the one that the place
            and the time are judged by, say a column of `Sample.seed_sources`; the other metrics
            look at all sources, at that seed's peak time.
        left_out : ndarray of bool, shape (batch, sources), optional
            Regions near the seed in which its peak is not searched for.

        Returns
        -------
        SourceMetrics

        Raises
        ------
        ValueError
            If shapes disagree, a value is not finite, an estimate is zero everywhere or at the
            true peak, or the truth has no active region at its seed, or only active regions; or
            if all regions near a seed are left out.
        IndexError
            If a seed is not a region.
        """
        truth, estimate, seeds = self._checked(truth, estimate, seed_source)
        sample = np.arange(len(seeds))

        peak_time = np.abs(truth[sample, seeds]).argmax(axis=1)  # (B,)
        true_map = truth[sample, :, peak_time].astype(np.float64)  # (B, n)
        estimated_map = estimate[sample, :, peak_time].astype(np.float64)  # (B, n)
        self._check_maps(true_map, estimated_map, seeds)

        score = np.abs(estimated_map)
        zone = self._hops[seeds] <= self.window_hops
        if left_out is not None:
            zone = zone & ~left_out
            nowhere = listed(~zone.any(axis=1))
            if nowhere:
                raise ValueError(f"no region is left to search for the peak in samples {nowhere}")
        near = np.where(zone, score, -1.0).argmax(axis=1)
        estimated_time = np.abs(estimate[sample, near]).argmax(axis=1)
        return SourceMetrics(
            localization_error=self._distance_mm(seeds, near),
            localization_error_global=self._distance_mm(seeds, score.argmax(axis=1)),
            time_error=1e3 * np.abs(peak_time - estimated_time) / self.sfreq,
            auc=roc_auc(true_map != 0.0, score),
            nmse=np.mean((unit_peak(true_map) - unit_peak(estimated_map)) ** 2, axis=1),
            psnr=peak_signal_to_noise(truth, estimate),
        )

    def _distance_mm(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
        apart: Floats = np.linalg.norm(self._positions[a] - self._positions[b], axis=1)
        return 1e3 * apart

    def _checked(
        self, truth: Any, estimate: Any, seed_source: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
        n = len(self._positions)
        truth, estimate = checked_pair("Evaluator", truth, estimate, n)
        seeds = np.atleast_1d(as_array(seed_source))
        if seeds.shape != truth.shape[:1] or not np.issubdtype(seeds.dtype, np.integer):
            raise ValueError(
                f"Evaluator: seed_source must hold {len(truth)} integers, "
                f"got shape {seeds.shape} of {seeds.dtype}"
            )
        if seeds.min() < 0 or seeds.max() >= n:
            raise IndexError(f"Evaluator: seed_source must lie in 0..{n - 1}, got {seeds}")
        return truth, estimate, seeds.astype(np.int64)

    @staticmethod
    def _check_maps(true_map: Floats, estimated_map: Floats, seeds: NDArray[np.int64]) -> None:
        empty = true_map[np.arange(len(seeds)), seeds] == 0.0
        if empty.any():
            raise ValueError(
                f"Evaluator: the truth is zero at its seed in samples {listed(empty)}: empty patch"
            )
        full = (true_map != 0.0).all(axis=1)
        if full.any():
            raise ValueError(
                f"Evaluator: every region is active in samples {listed(full)}: AUC is undefined"
            )
        silent = (estimated_map == 0.0).all(axis=1)
        if silent.any():
            raise ValueError(
                f"Evaluator: the estimate is zero at the true peak in samples {listed(silent)}"
            )
