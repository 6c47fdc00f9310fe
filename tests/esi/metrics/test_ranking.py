"""Ranks of active regions among the others, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from learnmm_esi.metrics import average_precision, roc_auc


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(roc_auc, roc_auc_score), (average_precision, average_precision_score)],
)
@pytest.mark.parametrize("levels", [2, 6, 10_000])
def test_rows_equal_scikit_learn_with_ties_and_without(ours, theirs, levels):
    generator = np.random.default_rng(3)
    active = generator.random((20, 30)) < 0.3
    active[:, 0], active[:, 1] = True, False
    score = generator.integers(0, levels, (20, 30)).astype(float)
    expected = [theirs(a, s) for a, s in zip(active, score, strict=True)]
    np.testing.assert_allclose(ours(active, score), expected, rtol=1e-12)


def test_average_precision_by_hand():
    # Falling scores: hit, miss, hit, miss; precision 1 at the first hit, 2/3 at the second.
    active = np.array([[True, False, True, False]])
    score = np.array([[4.0, 3.0, 2.0, 1.0]])
    assert average_precision(active, score) == pytest.approx([(1 + 2 / 3) / 2])


def test_rows_without_what_is_compared_are_refused():
    with pytest.raises(ValueError, match="active and an inactive"):
        roc_auc(np.ones((1, 3), bool), np.ones((1, 3)))
    with pytest.raises(ValueError, match="every row needs an active region"):
        average_precision(np.zeros((1, 3), bool), np.ones((1, 3)))
