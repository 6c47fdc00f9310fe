"""The SEREEGA-like simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch.utils.data import DataLoader

from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.samples import stack_samples
from learnmm_esi.sources import Patches


def test_sample_follows_the_protocol(small_model):
    simulator = ERPSimulator(small_model, seed=4)
    weights_of = Patches(small_model).weights
    for index in range(40):
        sample = simulator.sample(index)
        x, s = sample.sources.astype(np.float64), sample.seed_source
        assert x.shape == (80, 64)
        assert sample.sources.dtype == sample.sensors.dtype == np.float32
        # Rank one: a patch of 1..4 hops times one waveform.
        weights = x[:, x[s].argmax()] / x[s].max()
        assert any(np.allclose(weights, weights_of(s, k), atol=1e-6) for k in range(1, 5))
        np.testing.assert_allclose(x, np.outer(weights, x[s]), atol=1e-6 * x.max())
        # A Gaussian is a parabola in the logarithm: centre and width in whole milliseconds.
        high = x[s] > 1e-3 * x[s].max()
        time = 1e3 * np.arange(64) / 512.0
        curvature, slope, offset = np.polyfit(time[high], np.log(x[s][high] / simulator.unit), 2)
        centre, width = -slope / (2 * curvature), 6 / math.sqrt(-2 * curvature)
        assert centre == pytest.approx(round(centre), abs=1e-3)
        assert width == pytest.approx(round(width), abs=1e-3)
        assert math.ceil(62.5 * 0.35) <= round(centre) <= math.ceil(62.5 * 1.95)
        assert math.ceil(60 * 0.882) <= round(width) <= math.ceil(60 * 1.122)
        assert 0.15 <= math.exp(offset - slope**2 / (4 * curvature)) <= 2.55
        # The recording is the lead field's, 5 dB above its noise.
        clean = small_model.leadfield @ x
        noise = np.linalg.norm(sample.sensors - clean)
        assert 20 * np.log10(np.linalg.norm(clean) / noise) == pytest.approx(5.0, abs=1e-3)


def test_hops_and_seeds_are_uniform(small_model):
    simulator = ERPSimulator(small_model, seed=1)
    sizes = Patches(small_model)
    hops = []
    seeds = np.zeros(80)
    for sample in map(simulator.sample, range(800)):
        active = np.flatnonzero(sample.sources.any(axis=1))
        hops.append(sizes.hops[sample.seed_source, active].max())
        seeds[sample.seed_source] += 1
    counts = np.bincount(hops, minlength=5)
    assert counts[0] == 0
    assert len(counts) == 5
    assert np.abs(counts[1:] - 200).max() < 60  # about five standard deviations
    assert seeds.min() > 0
    assert seeds.max() < 30


def test_a_sample_depends_on_seed_index_and_draw_alone(small_model):
    simulator = ERPSimulator(small_model, seed=7)
    backwards = stack_samples([simulator.sample(i) for i in (5, 3, 1)])
    again = ERPSimulator(small_model, seed=7).batch([5, 3, 1])
    for name in ("sources", "sensors", "seed_source", "snr_db", "index"):
        assert (getattr(backwards, name) == getattr(again, name)).all()
    fresh = simulator.sample(3, draw=1)
    assert (fresh.sources == simulator.sample(3).sources).all()
    assert not np.allclose(fresh.sensors, simulator.sample(3).sensors, rtol=1e-2)
    other = ERPSimulator(small_model, seed=8).sample(3)
    assert not np.array_equal(other.sources, fresh.sources)


def test_ratio_may_be_a_range(small_model):
    ratios = ERPSimulator(small_model, snr_db=(0.0, 10.0)).batch(range(50)).snr_db
    assert 0.0 <= ratios.min() < 2.0
    assert 8.0 < ratios.max() <= 10.0


def test_is_a_torch_data_set(small_model):
    simulator = ERPSimulator(small_model, size=10)
    loader = DataLoader(simulator, batch_size=4, collate_fn=stack_samples)
    batches = list(loader)
    assert [len(b.sources) for b in batches] == [4, 4, 2]
    assert (batches[1].sensors[0] == simulator[4].sensors).all()
    assert (simulator[-1].sensors == simulator[9].sensors).all()
    with pytest.raises(IndexError, match="index 10 of 10"):
        simulator[10]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size"),
        ({"seed": -1}, "seed"),
        ({"sfreq": 0.0}, "sfreq"),
        ({"snr_db": (5.0, 1.0)}, "low <= high"),
        ({"snr_db": math.nan}, "finite"),
    ],
)
def test_settings_are_checked(small_model, settings, message):
    with pytest.raises(ValueError, match=message):
        ERPSimulator(small_model, **settings)


def test_misuse_is_named(small_model):
    with pytest.raises(ValueError, match="index and draw"):
        ERPSimulator(small_model).sample(-1)
    with pytest.raises(ValueError, match="no sample"):
        stack_samples([])
