"""Agreement of ranks: whether active regions have higher scores than the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = ["average_precision", "roc_auc"]

Floats = NDArray[np.float64]


def roc_auc(active: NDArray[np.bool_], score: Floats) -> Floats:
    """Area under the ROC curve of every row, from the ranks of the scores.

    ``AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N)`` with ``P`` positives and ``N``
    negatives, equal scores sharing their mean rank (Mann-Whitney).

    Parameters
    ----------
    active : ndarray of bool, shape (batch, n)
        Both classes in every row.
    score : ndarray, shape (batch, n)

    Returns
    -------
    ndarray of float64, shape (batch,)
    """
    positives = active.sum(axis=1)
    negatives = active.shape[1] - positives
    if (positives == 0).any() or (negatives == 0).any():
        raise ValueError("roc_auc: every row needs an active and an inactive region")
    rank_sum = np.where(active, rankdata(score, axis=1), 0.0).sum(axis=1)
    area: Floats = (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
    return area


def average_precision(active: NDArray[np.bool_], score: Floats) -> Floats:
    """Average precision of every row: ``sum_n (R_n - R_{n-1}) P_n`` over falling thresholds.

    ``P_n`` and ``R_n`` are precision and recall of the regions whose score is at least the n-th
    largest distinct one, as in `sklearn.metrics.average_precision_score`. Chance is the share of
    active regions, whatever their number: unlike the AUC, it sees where few of many are active.

    Parameters
    ----------
    active : ndarray of bool, shape (batch, n)
        An active region in every row.
    score : ndarray, shape (batch, n)

    Returns
    -------
    ndarray of float64, shape (batch,)
    """
    positives = active.sum(axis=1)
    if (positives == 0).any():
        raise ValueError("average_precision: every row needs an active region")
    taken = rankdata(-score, method="max", axis=1).astype(np.int64)  # scores at least this one
    order = np.argsort(-score, axis=1)
    hits = np.take_along_axis(active, order, axis=1).cumsum(axis=1)  # active among the first
    precision = np.take_along_axis(hits, taken - 1, axis=1) / taken
    average: Floats = np.where(active, precision, 0.0).sum(axis=1) / positives
    return average
