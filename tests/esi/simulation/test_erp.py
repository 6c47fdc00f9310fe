"""The SEREEGA-like simulator and the patches and noise it is made of."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from torch.utils.data import DataLoader

from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.noise import add_sensor_noise, scale_to_snr
from learnmm_esi.simulation.samples import stack_samples
from learnmm_esi.sources import UNREACHABLE, Patches, hop_counts, region_distances


@pytest.fixture
def path_model():
    """Four regions in a row, 1 cm apart and bent, and a fifth that touches none."""
    positions = 0.01 * np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [9, 9, 9]], float)
    edges = sparse.diags([[1, 1, 1, 0], [1, 1, 1, 0]], [-1, 1], dtype=bool).tocsr()
    geodesic = 0.01 * np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    geodesic[4, :4] = geodesic[:4, 4] = np.inf
    return SimpleNamespace(
        leadfield=np.random.default_rng(0).standard_normal((3, 5)),
        positions=positions,
        neighbours=edges,
        distances=geodesic,
    )


def test_hop_counts_of_a_path(path_model):
    hops = hop_counts(path_model.neighbours)
    assert hops[0].tolist() == [0, 1, 2, 3, UNREACHABLE]
    assert (hops == hops.T).all()


def test_patch_weights_by_hand(path_model):
    # d = 0, 1, 2 cm, d_max = 2 cm: exp(-1/2 (d / 1 cm)^2).
    expected = [1.0, math.exp(-0.5), math.exp(-2.0), 0.0, 0.0]
    np.testing.assert_allclose(Patches(path_model).weights(0, 2), expected, rtol=1e-14)
    half = Patches(path_model, edge_weight=0.5).weights(1, 2)
    np.testing.assert_allclose(half, [0.5**0.25, 1.0, 0.5**0.25, 0.5, 0.0], rtol=1e-14)


def test_patch_distance_is_a_choice(path_model):
    # Around the bend the straight way from 1 to 3 is sqrt(2) cm, the way along the path 2 cm.
    assert region_distances(path_model, "euclidean")[1, 3] == pytest.approx(0.01 * math.sqrt(2))
    straight = Patches(path_model, "euclidean").weights(1, 2)
    np.testing.assert_allclose(straight[[0, 2]], math.exp(-2.0 / 2.0), rtol=1e-12)


def test_a_patch_of_one_region_has_weight_one(path_model):
    assert Patches(path_model).weights(4, 3).tolist() == [0, 0, 0, 0, 1]
    assert Patches(path_model).weights(2, 0).tolist() == [0, 0, 1, 0, 0]


def test_patches_stay_connected_and_in_their_hemisphere(small_model):
    patches = Patches(small_model)
    for seed in (0, 17, 63):
        regions = patches.regions(seed, 3)
        assert seed in regions
        assert np.isfinite(small_model.distances[seed, regions]).all()
        inside = small_model.neighbours[regions][:, regions]
        assert sparse.csgraph.connected_components(inside)[0] == 1


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0, 20.0])
def test_noise_has_the_frobenius_ratio_asked_for(snr_db):
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((6, 11))
    signal -= signal.mean(axis=0)
    noisy = add_sensor_noise(signal, snr_db, generator)
    ratio = 20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(noisy - signal))
    assert ratio == pytest.approx(snr_db, abs=1e-10)
    np.testing.assert_allclose(noisy.mean(axis=0), 0.0, atol=1e-14)


def test_noise_is_white_within_the_average_reference():
    generator = np.random.default_rng(1)
    signal = np.ones((5, 20_000)) * np.array([[2.0], [-2.0], [1.0], [-1.0], [0.0]])
    noise = add_sensor_noise(signal, 0.0, generator) - signal
    covariance = np.cov(noise)
    centring = np.eye(5) - 0.2
    np.testing.assert_allclose(covariance, centring * np.trace(covariance) / 4, atol=0.05)


def test_no_noise_at_infinite_ratio():
    signal = np.array([[1.0, 2.0], [-1.0, -2.0]])
    assert (add_sensor_noise(signal, math.inf, np.random.default_rng(0)) == signal).all()


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


def test_misuse_is_named(path_model, small_model):
    with pytest.raises(IndexError, match="seed 5"):
        Patches(path_model).weights(5, 1)
    with pytest.raises(ValueError, match="hops"):
        Patches(path_model).weights(0, -1)
    with pytest.raises(ValueError, match="edge_weight"):
        Patches(path_model, edge_weight=1.0)
    path_model.distances = None
    with pytest.raises(ValueError, match="euclidean"):
        Patches(path_model)
    with pytest.raises(ValueError, match="square"):
        hop_counts(sparse.csr_matrix((2, 3)))
    with pytest.raises(ValueError, match="symmetric"):
        hop_counts(sparse.csr_matrix(([True], ([0], [1])), shape=(2, 2)))
    with pytest.raises(ValueError, match="signal is zero"):
        scale_to_snr(np.ones(3), np.zeros(3), 5.0)
    with pytest.raises(ValueError, match="snr_db"):
        scale_to_snr(np.ones(3), np.ones(3), math.nan)
    with pytest.raises(ValueError, match="index and draw"):
        ERPSimulator(small_model).sample(-1)
    with pytest.raises(ValueError, match="no sample"):
        stack_samples([])
