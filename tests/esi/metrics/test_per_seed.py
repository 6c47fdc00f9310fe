"""The metrics of Table I for several patches: seed by seed, and what an overlap does."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from learnmm_esi.metrics import Evaluator, PerSeedEvaluator, PerSeedMetrics, SourceMetrics

SFREQ, REGIONS = 100.0, 12


@pytest.fixture
def model():
    """Regions in a row along x, 1 cm apart."""
    edges = sparse.diags([np.ones(REGIONS - 1)] * 2, [-1, 1], dtype=bool).tocsr()
    return SimpleNamespace(
        positions=0.01 * np.arange(REGIONS)[:, None] * np.array([1.0, 0.0, 0.0]), neighbours=edges
    )


def patches_of(*regions):
    masks = np.zeros((1, len(regions), REGIONS), bool)
    for number, own in enumerate(regions):
        masks[0, number, own] = True
    return masks


def batch(size=6, seed=0):
    """Two patches of three regions, apart or not, and an estimate in noise."""
    draw = np.random.default_rng(seed)
    seeds = np.stack([draw.integers(1, 5, size), draw.integers(4, 11, size)], axis=1)
    masks = np.abs(np.arange(REGIONS) - seeds[:, :, None]) <= 1
    x = np.zeros((size, REGIONS, 20))
    for number in range(2):
        course = draw.uniform(0.5, 2.0, (size, 1, 20))
        x = np.where(masks[:, number, :, None], course, x)
    return x, x + 0.5 * draw.standard_normal(x.shape), seeds, masks


def test_means_are_over_the_seeds_and_the_other_patch_is_not_searched(model):
    x, y = np.zeros((1, REGIONS, 4)), np.zeros((1, REGIONS, 4))
    x[0, [2, 3], 1], x[0, [2, 3], 2] = 4.0, -1.0
    x[0, 6, 3] = 2.0
    y[0, [3, 4, 6, 9], 1] = 1.0, 2.0, 5.0, 3.0
    y[0, [4, 5, 6], 3] = 4.0, 1.0, 0.5
    found = PerSeedEvaluator(model, SFREQ)(x, y, [[2, 6]], patches_of([2, 3], [6]))
    # At the first seed's time region 6 has most, but is the other patch's; 9 is seven hops away.
    # At the second seed's, region 4 has most of all.
    assert found.localization_error == pytest.approx([(70.0 + 20.0) / 2])
    assert found.localization_error_global == pytest.approx([(40.0 + 20.0) / 2])
    assert found.time_error == pytest.approx([0.0])
    # Pairs won. First, scores 0 and 1: 3.5 and 7 against nine regions of no patch, or ten with
    # region 6, which is silent then. Second, score 0.5: against nine of no patch, or all eleven.
    assert found.auc_of_patch == pytest.approx([(10.5 / 18 + 7 / 9) / 2])
    assert found.auc == pytest.approx([(10.5 / 20 + 9 / 11) / 2])


def test_one_seed_has_the_metrics_of_one_seed(model):
    x, y, seeds, masks = batch()
    x = np.where(masks[:, :1].swapaxes(1, 2), x, 0.0)
    x[np.arange(6), seeds[:, 0], 3] += 1.0  # where the second has taken its regions too
    one = Evaluator(model, SFREQ)(x, y, seeds[:, 0])
    filled = np.stack([seeds[:, 0], np.full(6, -1)], axis=1)
    found = PerSeedEvaluator(model, SFREQ)(x, y, filled, masks)
    for field in fields(SourceMetrics):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(one, field.name))
    np.testing.assert_array_equal(found.auc_of_patch, one.auc)


@pytest.mark.parametrize(("strength", "counts"), [(0.5, 0), (2.0, 1), (1.0, 0)])
def test_of_patches_that_overlap_the_stronger_counts(model, strength, counts):
    x = np.zeros((1, REGIONS, 6))
    x[0, 1:4, 2], x[0, 4:7, 4] = 1.0, strength
    y = x + 0.2 * np.random.default_rng(1).standard_normal(x.shape)
    seeds, masks = np.array([[2, 5]]), patches_of([1, 2, 3, 4], [4, 5, 6])
    evaluate = PerSeedEvaluator(model, SFREQ)
    found = evaluate(x, y, seeds, masks)
    left_out = masks[:, 1 - counts] & ~masks[:, counts]
    alone = Evaluator(model, SFREQ)(x, y, seeds[:, counts], left_out)
    for field in fields(SourceMetrics):
        assert getattr(found, field.name) == getattr(alone, field.name)
    apart = evaluate(x, y, seeds, patches_of([1, 2, 3], [4, 5, 6]))
    assert apart.psnr == found.psnr
    assert apart.nmse != found.nmse


def test_samples_do_not_touch_each_other(model):
    x, y, seeds, masks = batch()
    evaluate = PerSeedEvaluator(model, SFREQ)
    together = evaluate(x, y, seeds, masks)
    y[0] *= -1e6
    after = evaluate(x, y, seeds, masks)
    singly = PerSeedMetrics.concatenate(
        [evaluate(a, b, s[None], m[None]) for a, b, s, m in zip(x, y, seeds, masks, strict=True)]
    )
    for field in fields(PerSeedMetrics):
        all_of, each = getattr(together, field.name), getattr(singly, field.name)
        np.testing.assert_array_equal(getattr(after, field.name)[1:], all_of[1:])
        np.testing.assert_allclose(each, getattr(after, field.name), rtol=1e-12)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda s, m: (s[:, 0], m),
            ValueError,
            r"integers of shape \(6, seeds\), got shape \(6,\)",
        ),
        (lambda s, m: (s + 0.0, m), ValueError, "of float64"),
        (lambda s, m: (s, m[:, :1]), ValueError, r"shape \(6, 2, 12\), got shape \(6, 1, 12\)"),
        (lambda s, m: (s, m.astype(int)), ValueError, "booleans"),
        (lambda s, m: (s * 0 - 1, m), ValueError, "no seed in samples"),
        (lambda s, m: (s, m & False), ValueError, "not in its patch"),
        (lambda s, m: (s + REGIONS, m), IndexError, r"lie in 0\.\.11"),
    ],
)
def test_misuse_is_named(model, spoil, error, message):
    x, y, seeds, masks = batch()
    with pytest.raises(error, match=message):
        PerSeedEvaluator(model, SFREQ)(x, y, *spoil(seeds, masks))


def test_a_peak_is_not_searched_for_where_all_is_left_out(model):
    x, y, seeds, _ = batch()
    evaluate = Evaluator(model, SFREQ, window_hops=1)
    nowhere = np.zeros((len(x), REGIONS), bool)
    nowhere[2] = np.abs(np.arange(REGIONS) - seeds[2, 0]) <= 1
    with pytest.raises(ValueError, match=r"no region is left .* in samples \[2\]"):
        evaluate(x, y, seeds[:, 0], nowhere)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sfreq", np.inf), ("sfreq", "1"), ("window_hops", 2.5), ("window_hops", -1)],
)
def test_settings_that_are_none_are_refused(model, name, value):
    with pytest.raises(ValueError, match=f"Evaluator: {name} must be"):
        Evaluator(model, **{"sfreq": SFREQ, name: value})
