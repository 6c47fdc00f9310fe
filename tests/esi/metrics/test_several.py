"""Metrics of several sources: laws, definitions written out, and misuse."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score, roc_auc_score

from learnmm_esi.metrics import SeveralEvaluator, SeveralMetrics
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings

NAMES = [f.name for f in fields(SeveralMetrics)]


@pytest.fixture(scope="module")
def data(small_model):
    """Samples of one to three patches with estimates that are blurred truths in noise."""
    patches = PatchSettings((1, 3), max_hops=1)
    batch = ERPSimulator(small_model, seed=1, times=12, patches=patches).batch(range(10))
    generator = np.random.default_rng(2)
    spread = np.exp(-small_model.distances / 0.02) @ batch.sources
    noise = generator.standard_normal(spread.shape) * 0.1 * np.abs(spread).max()
    return batch.sources, spread + noise, batch.seed_sources


def same(one, other, **tolerance):
    for name in NAMES:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), **tolerance)


@pytest.mark.parametrize("scale", [1.0, -(2.0**20)])
def test_the_truth_at_any_scale_has_the_best_value_of_all(small_model, data, scale):
    truth, _, seeds = data
    best = SeveralEvaluator(small_model)(truth, scale * truth, seeds)
    assert (best.transport == 0.0).all()
    assert (best.dispersion == 0.0).all()
    assert (best.average_precision == 1.0).all()
    assert (best.auc == 1.0).all()
    if scale > 0:
        assert (best.psnr > 100.0).all()


def test_sources_that_do_not_touch_are_found_where_they_are(small_model):
    regions = np.array([[0, 15, 79]])
    truth = np.zeros((1, 80, 5))
    truth[0, regions[0]] = np.random.default_rng(0).uniform(0.5, 1.0, (3, 5))
    assert SeveralEvaluator(small_model)(truth, truth, regions).localization_error == [0.0]


def test_values_are_those_of_the_definitions(small_model, data):
    truth, estimate, seeds = data
    found = SeveralEvaluator(small_model)(truth, estimate, seeds)
    apart = 1e3 * cdist(small_model.positions, small_model.positions)
    for b in range(len(truth)):
        u, v = (np.sqrt((x[b].astype(float) ** 2).mean(axis=1)) for x in (truth, estimate))
        nearest = apart[:, u > 0].min(axis=1)
        dispersion = np.sqrt(np.average(nearest**2, weights=v**2))
        assert found.dispersion[b] == pytest.approx(dispersion)
        assert found.average_precision[b] == pytest.approx(average_precision_score(u > 0, v))
        assert found.auc[b] == pytest.approx(roc_auc_score(u > 0, v))
        if (seeds[b] >= 0).sum() == 1:  # one source: the largest value of all
            assert found.localization_error[b] == pytest.approx(apart[seeds[b, 0], v.argmax()])


def test_a_source_without_a_peak_is_charged_the_nearest_one(small_model):
    truth, estimate = np.zeros((2, 1, 80, 3))
    truth[0, [4, 70]], estimate[0, 4] = 1.0, 1.0
    found = SeveralEvaluator(small_model)(truth, estimate, np.array([[70, 4]]))
    apart = 1e3 * np.linalg.norm(small_model.positions[70] - small_model.positions[4])
    assert found.localization_error == pytest.approx([apart / 2])
    assert found.transport == pytest.approx([apart / 2])  # half the mass, all the way


def test_neither_scale_nor_order_nor_neighbours_in_the_batch_matter(small_model, data):
    truth, estimate, seeds = data
    evaluator = SeveralEvaluator(small_model)
    usual = evaluator(truth, estimate, seeds)
    same(evaluator(truth, 2.0**-40 * estimate, seeds), usual, rtol=1e-9)
    same(evaluator(truth, estimate, seeds[:, ::-1]), usual, rtol=0)
    parts = [evaluator(*one) for one in zip(truth, estimate, seeds[:, None], strict=True)]
    same(SeveralMetrics.concatenate(parts), usual, rtol=1e-9)
    assert len(usual) == len(truth)
    assert usual.summary()["auc"] == usual.auc.mean()


def test_times_in_any_order_and_tensors_do(small_model, data):
    truth, estimate, seeds = data
    evaluator = SeveralEvaluator(small_model)
    backwards = evaluator(truth[..., ::-1], estimate[..., ::-1], seeds)
    tensors = (torch.from_numpy(value) for value in data)
    same(evaluator(*tensors), backwards, rtol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda x, y, s: (x, y[:, :-1], s), ValueError, "SeveralEvaluator: truth and estimate"),
        (lambda x, y, s: (x[..., :0], y[..., :0], s), ValueError, "nothing to evaluate"),
        (lambda x, y, s: (x, y * np.nan, s), ValueError, "estimate is not finite"),
        (lambda x, y, s: (x, y, s[:, 0]), ValueError, r"shape \(10, seeds\)"),
        (lambda x, y, s: (x, y, s.astype(float)), ValueError, "float64"),
        (lambda x, y, s: (x, y, s + 80), IndexError, r"0\.\.79"),
        (lambda x, y, s: (x, y, 0 * s - 1), ValueError, "there is no seed in samples"),
        (lambda x, y, s: (x, y, s[:, [0, 0]]), ValueError, "named twice"),
        (lambda x, y, s: (0 * x, y, s), ValueError, "the truth is zero at a seed"),
        (lambda x, y, s: (0 * x + 1, y, s), ValueError, "every region is active"),
        (lambda x, y, s: (x, 0 * y, s), ValueError, "the estimate is zero everywhere"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_misuse_is_named(small_model, data, spoil, error, message):
    with pytest.raises(error, match=message):
        SeveralEvaluator(small_model)(*spoil(*data))
