"""Recordings of the neural-mass simulator."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.nmm import NMMSimulator, _on_grid
from learnmm_esi.sources import Patches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def simulator(small_model, folder):
    return NMMSimulator(small_model, seed=5, size=4, cache_dir=folder)


def test_truth_follows_the_protocol(small_model, simulator):
    weights_of = Patches(small_model, edge_weight=0.5).weights
    for sample in simulator:
        x, s = sample.sources.astype(np.float64), sample.seed_source
        assert x.shape == (80, 500)
        clip = simulator.clips[sample.index].astype(np.float64)
        np.testing.assert_allclose(x[s], 1e-9 * (clip - clip.mean()), rtol=1e-5, atol=1e-15)
        np.testing.assert_allclose(x.mean(axis=1), 0.0, atol=1e-14)
        weights = x[:, x[s].argmax()] / x[s].max()
        assert any(np.allclose(weights, weights_of(s, k), atol=1e-6) for k in range(1, 5))
        assert weights[weights > 0].min() == pytest.approx(0.5, abs=1e-6)


def test_recordings_have_the_ratios_asked_for(small_model, folder):
    for source_snr_db in (10.0, 20.0, None):
        simulator = NMMSimulator(
            small_model, 5, 4, snr_db=80.0, source_snr_db=source_snr_db, cache_dir=folder
        )
        for sample in simulator:
            clean = small_model.leadfield @ sample.sources.astype(np.float64)
            rest = sample.sensors - clean
            peak = int(np.abs(sample.sources[sample.seed_source]).argmax())
            window = slice(max(0, peak - 50), peak + 50)
            ratio = np.linalg.norm(clean[:, window]) / np.linalg.norm(rest[:, window])
            expected = 80.0 if source_snr_db is None else source_snr_db
            assert 20 * np.log10(ratio) == pytest.approx(
                expected, abs=12.0 if source_snr_db is None else 0.1
            )


def test_recordings_are_centred_over_time_and_sensors(simulator):
    for sample in simulator:
        size = np.abs(sample.sensors).max()
        np.testing.assert_allclose(sample.sensors.mean(axis=1), 0.0, atol=1e-6 * size)
        np.testing.assert_allclose(sample.sensors.mean(axis=0), 0.0, atol=1e-6 * size)


def test_background_is_outside_the_patch_and_differs_between_regions(small_model, folder):
    """With a sensor at every region, the background's recording is the background itself."""
    centring = np.eye(80) - 1 / 80
    model = replace(small_model, leadfield=centring)
    simulator = NMMSimulator(model, 5, 4, snr_db=80.0, cache_dir=folder)
    for sample in simulator:
        active = sample.sources.any(axis=1)
        rest = sample.sensors - centring @ sample.sources
        # Inside the patch only the average reference is left, the same everywhere.
        spread = np.ptp(rest[active], axis=0).max()
        assert spread < 0.01 * np.abs(rest[~active]).max()
        correlation = np.corrcoef(rest[~active])
        assert np.median(np.abs(correlation)) < 0.3


def test_sensor_noise_is_drawn_from_its_range(simulator):
    ratios = simulator.batch([0, 1, 2, 3] * 5).snr_db
    assert ((ratios >= 5.0) & (ratios <= 15.0)).all()
    draws = [simulator.sample(0, draw=k).snr_db for k in range(30)]
    assert min(draws) < 7.0
    assert max(draws) > 13.0


def test_sensor_noise_has_the_ratio_it_reports(small_model, folder):
    simulator = NMMSimulator(small_model, 5, 4, source_snr_db=None, cache_dir=folder)
    for sample in simulator:
        clean = small_model.leadfield @ sample.sources.astype(np.float64)
        ratio = np.linalg.norm(clean) / np.linalg.norm(sample.sensors - clean)
        # Removing the mean over 500 samples takes 1/500 of the noise's power.
        assert 20 * np.log10(ratio) == pytest.approx(sample.snr_db, abs=0.05)


def test_a_sample_depends_on_seed_index_and_draw_alone(small_model, simulator, folder):
    other = NMMSimulator(small_model, seed=5, size=4, cache_dir=folder)
    for index in (3, 1):
        a, b = simulator.sample(index, draw=2), other.sample(index, draw=2)
        assert (a.sensors == b.sensors).all()
        assert (a.sources == b.sources).all()
        assert not np.array_equal(a.sensors, other.sample(index).sensors)
        assert (a.sources == other.sample(index).sources).all()


@given(seed=st.integers(0, 2**32 - 1), terms=st.sampled_from([1, 7, 994, 4096]))
def test_sums_on_a_grid_have_no_order(seed, terms):
    """Every sum is exact, so neither threads nor the processor decide on its bits."""
    draw = np.random.default_rng(seed)
    bits = (53 - math.ceil(math.log2(terms))) // 2
    left = _on_grid(draw.standard_normal((3, terms)) * 10.0 ** draw.uniform(-9, 9), bits)
    right = _on_grid(draw.standard_normal((terms, 5)).astype(np.float32), bits)
    order = draw.permutation(terms)
    found = left @ right
    np.testing.assert_array_equal(found, left[:, order] @ right[order])
    assert found[1, 2] == math.fsum(map(math.prod, zip(left[1], right[:, 2], strict=True)))


@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(8, 26))
def test_a_grid_is_as_fine_as_its_bits(seed, bits):
    values = np.random.default_rng(seed).standard_normal(50)
    error = np.abs(_on_grid(values, bits) - values).max()
    assert error <= 2.0**-bits * np.abs(values).max()


def test_recordings_are_the_same_for_any_number_of_threads(fsaverage_model, tmp_path):
    recordings = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            made = [
                make(fsaverage_model, seed=11, cache_dir=tmp_path).sample(3)
                if make is NMMSimulator
                else make(fsaverage_model, seed=11).sample(3)
                for make in (NMMSimulator, ERPSimulator)
            ]
        recordings.append([sample.sensors for sample in made])
    for others in recordings[1:]:
        for one, other in zip(recordings[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_misuse_is_named(tmp_path, small_model):
    with pytest.raises(ValueError, match="low <= high"):
        NMMSimulator(small_model, snr_db=(3.0, 1.0), cache_dir=tmp_path)
