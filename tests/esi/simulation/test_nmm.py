"""The neural-mass simulator: equations, integration, spikes, files and recordings."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.signal import find_peaks
from threadpoolctl import threadpool_limits

from learnmm_esi.simulation import clips as clips_module
from learnmm_esi.simulation.clips import SHARD, SpikeClips
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.jansen_rit import (
    JansenRitParameters,
    jansen_rit_derivative,
    simulate_columns,
)
from learnmm_esi.simulation.nmm import NMMSimulator, _on_grid
from learnmm_esi.simulation.spikes import SPIKING, background_clips, spike_clips
from learnmm_esi.sources import Patches

NORMAL = JansenRitParameters()

# Computed once with tvb-library 2.10.0: tvb.simulator.models.jansen_rit.JansenRit.dfun with A as
# below, mu=0.087, v0=6, p_min=0.03, p_max=0.15, its other defaults, and zero coupling. On 2 000
# random states the largest difference was 1.8e-16 of the component's largest value.
TVB_GAIN = (3.25, 3.6, 3.25, 3.6)
TVB_STATES = np.array(
    [
        [0.150, 26.402, 22.149, -0.550, -1.998, 3.736],
        [-0.098, 23.743, 22.897, -0.064, -1.970, -2.216],
        [0.002, 10.578, 12.659, 0.107, 4.955, 2.927],
        [0.149, 29.614, 2.536, -0.680, 1.125, -4.561],
    ]
)
TVB_ACCELERATIONS = np.array(
    [
        [0.10894399104674761, 0.3392949575302487, -0.3599786924523274],
        [0.013875108356423005, 0.18789409125645762, 0.1653636122380293],
        [-0.021402588506862778, -1.0616892990426652, -0.3178845198479446],
        [0.13630998654151524, -0.29549172964516157, 0.5179365003857039],
    ]
)


@pytest.mark.parametrize("row", range(4))
def test_right_hand_side_equals_the_virtual_brain(row):
    parameters = replace(NORMAL, excitatory_gain=TVB_GAIN[row])
    derivative = jansen_rit_derivative(TVB_STATES[row], parameters)
    expected = np.concatenate([TVB_STATES[row, 3:], TVB_ACCELERATIONS[row]])
    np.testing.assert_allclose(derivative, expected, rtol=1e-13)


def published_equations(_, z, gain):
    """Jansen and Rit (1995), Eq. 6, in their units: seconds, and pairs of value and slope."""

    def psp(strength, rate, spikes, value, slope):
        return strength * rate * spikes - 2 * rate * slope - rate**2 * value

    def sigmoid(v):
        return 5.0 / (1 + math.exp(0.56 * (6.0 - v)))

    (y0, s0), (y1, s1), (y2, s2) = z.reshape(3, 2)
    return [
        s0,
        psp(gain, 100.0, sigmoid(y1 - y2), y0, s0),
        s1,
        psp(gain, 100.0, 87.0 + 0.8 * 135 * sigmoid(135 * y0), y1, s1),
        s2,
        psp(22.0, 50.0, 0.25 * 135 * sigmoid(0.25 * 135 * y0), y2, s2),
    ]


@pytest.mark.parametrize("gain", [3.25, 3.6])
def test_integration_converges_to_an_independent_solver(gain):
    """Second order without noise: half the step, a quarter of the error."""
    span = 0.1  # seconds, the transient from rest
    reference = solve_ivp(
        published_equations, (0, span), np.zeros(6), args=(gain,), rtol=1e-11, atol=1e-13
    ).y[:, -1]
    parameters = replace(NORMAL, excitatory_gain=gain)
    errors = []
    for step in (0.5, 0.25):
        output = simulate_columns(np.zeros((int(1e3 * span / step), 1)), parameters, step)
        errors.append(abs(output[-1, 0] - (reference[2] - reference[4])))
    assert errors[0] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)


def test_steps_are_those_of_stochastic_heun():
    """Kloeden and Platen: predict with the noise in, then average the slopes and add it once."""
    noise = np.random.default_rng(1).standard_normal((40, 2))
    state, output = np.zeros((6, 2)), []
    for normal in 20.0 * noise:  # far stronger than the protocol's, so that each term shows
        push = np.zeros((6, 2))
        push[4] = NORMAL.noise_deviation * math.sqrt(0.5) * normal
        slope = jansen_rit_derivative(state, NORMAL)
        guess = state + 0.5 * slope + push
        state = state + 0.25 * (slope + jansen_rit_derivative(guess, NORMAL)) + push
        output.append(state[1] - state[2])
    np.testing.assert_allclose(simulate_columns(20.0 * noise, NORMAL, 0.5), output, rtol=1e-12)


def test_noise_has_the_intensity_of_the_protocol():
    """Without firing y1'' + 2a y1' + a^2 y1 = A a p + s xi: mean A p/a, variance s^2/(4 a^3)."""
    assert NORMAL.noise_deviation == pytest.approx(
        math.sqrt(2 * (0.1 * 3.25 * 0.12 * 0.5) ** 2 / 2)
    )
    assert SPIKING.noise_deviation == NORMAL.noise_deviation
    linear = replace(NORMAL, half_firing_rate=0.0)
    noise = np.random.default_rng(0).standard_normal((4000, 400))
    stationary = simulate_columns(noise, linear)[1000:]
    assert stationary.mean() == pytest.approx(3.25 * 0.087 / 0.1, abs=0.01)
    expected = NORMAL.noise_deviation / math.sqrt(4 * 0.1**3)
    assert stationary.std() == pytest.approx(expected, rel=0.02)


@pytest.fixture(scope="module")
def spikes():
    return spike_clips(0, range(64))


def test_isolated_clips_have_one_spike_anywhere(spikes):
    assert spikes.shape == (64, 500)
    assert spikes.dtype == np.float32
    peaks = [find_peaks(clip, height=8.0)[0] for clip in spikes]
    assert all(len(p) == 1 for p in peaks)
    where = np.concatenate(peaks)
    assert where.min() < 100
    assert where.max() > 400
    assert 10.0 < np.median(spikes.max(axis=1)) < 13.0


def test_any_and_multiple_spikes():
    counts = {}
    for choice, number in (("any", 16), ("multiple", 3)):
        clips = spike_clips(1, range(number), choice)
        counts[choice] = [len(find_peaks(clip, height=8.0)[0]) for clip in clips]
    assert min(counts["any"]) == 1
    assert min(counts["multiple"]) == 2


def test_a_clip_depends_on_seed_and_index_alone(spikes):
    np.testing.assert_array_equal(spike_clips(0, [40, 3, 3]), spikes[[40, 3, 3]])
    assert not np.array_equal(spike_clips(1, [3])[0], spikes[3])


def test_background_stays_quiet():
    clips = background_clips(0, 10)
    assert clips.shape == (10, 500)
    np.testing.assert_allclose(clips.mean(axis=1), 0.0, atol=1e-5)
    assert 0.1 < clips.std() < 1.0
    assert np.abs(clips).max() < 4.0
    assert len(np.unique(clips[:, 0])) == 10


# ---------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
def counted(monkeypatch):
    """Count how often spikes are simulated; a cheap stand-in for the integration."""
    calls = []

    def simulate(seed, indices, choice, parameters):
        calls.append(indices[0])
        return np.full((len(indices), 500), seed, np.float32) + np.array(indices)[:, None] / 1024

    monkeypatch.setattr(clips_module, "spike_clips", simulate)
    return calls


def test_clips_are_simulated_once_and_then_read(tmp_path, counted):
    assert list(SpikeClips(3, cache_dir=tmp_path).prepare(SHARD + 1)) == [SHARD, SHARD + 1]
    assert counted == [0, SHARD]
    again = SpikeClips(3, cache_dir=tmp_path)
    assert again[SHARD + 7][0] == np.float32(3 + (SHARD + 7) / 1024)
    assert counted == [0, SHARD]
    SpikeClips(4, cache_dir=tmp_path)[0]
    SpikeClips(3, "any", cache_dir=tmp_path)[0]
    SpikeClips(3, parameters=NORMAL, cache_dir=tmp_path)[0]
    assert counted == [0, SHARD, 0, 0, 0]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "swap"])
def test_damaged_files_are_simulated_anew(tmp_path, counted, damage, caplog):
    store = SpikeClips(3, cache_dir=tmp_path)
    first, second = store[0].copy(), store[SHARD].copy()
    files = sorted(tmp_path.rglob("*.safetensors"))
    if damage == "truncate":
        os.truncate(files[0], files[0].stat().st_size // 2)
    elif damage == "flip":
        content = bytearray(files[0].read_bytes())
        content[-1] ^= 1
        files[0].write_bytes(content)
    else:
        files[0].write_bytes(files[1].read_bytes())
    again = SpikeClips(3, cache_dir=tmp_path)
    np.testing.assert_array_equal(again[0], first)
    np.testing.assert_array_equal(again[SHARD], second)
    assert counted == [0, SHARD, 0]
    assert "anew" in caplog.text


def test_misuse_is_named(tmp_path, small_model):
    with pytest.raises(ValueError, match="choice"):
        spike_clips(0, [0], "lonely")
    with pytest.raises(ValueError, match="choice"):
        SpikeClips(0, "lonely", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="negative"):
        spike_clips(0, [-1])
    with pytest.raises(ValueError, match="count"):
        background_clips(0, 0)
    with pytest.raises(ValueError, match=r"\(steps, columns\)"):
        simulate_columns(np.zeros(4), NORMAL)
    with pytest.raises(ValueError, match="step"):
        simulate_columns(np.zeros((4, 1)), NORMAL, step=0.0)
    with pytest.raises(IndexError, match="index"):
        SpikeClips(0, cache_dir=tmp_path)[-1]
    with pytest.raises(ValueError, match="low <= high"):
        NMMSimulator(small_model, snr_db=(3.0, 1.0), cache_dir=tmp_path)


def test_columns_that_do_not_spike_are_an_error(monkeypatch):
    monkeypatch.setattr("learnmm_esi.simulation.spikes._ATTEMPTS", 1)
    with pytest.raises(RuntimeError, match="hardly spikes"):
        spike_clips(0, [0], parameters=NORMAL)


# ----------------------------------------------------------------------------- recordings


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


# ----------------------------------------------------------------------- the same bits everywhere


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
