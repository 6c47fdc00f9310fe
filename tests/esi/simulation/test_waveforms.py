"""Shapes of a deflection."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.waveforms import biphasic, find_shape, gaussian, oscillation

TIME = np.linspace(-100.0, 200.0, 3001)


def test_values_by_hand():
    # Centre 40 ms, width 60 ms: a standard deviation of 10 ms.
    time = np.array([30.0, 40.0, 45.0, 50.0])
    e = math.exp
    np.testing.assert_allclose(gaussian(time, 40, 60), [e(-0.5), 1, e(-0.125), e(-0.5)])
    np.testing.assert_allclose(biphasic(time, 40, 60), [1, 0, -0.5 * e(0.375), -1], atol=1e-15)
    expected = [-e(-0.5), 1, 0, -e(-0.5)]
    np.testing.assert_allclose(oscillation(time, 40, 60), expected, atol=1e-15)


@pytest.mark.parametrize("name", ["gaussian", "biphasic", "oscillation"])
def test_all_reach_one_and_end_within_the_width(name):
    values = find_shape(name)(TIME, 50.0, 60.0)
    assert np.abs(values).max() == pytest.approx(1.0, abs=1e-4)
    assert np.abs(values[np.abs(TIME - 50.0) > 30.0]).max() < 0.06


def test_biphasic_has_no_mean_and_oscillation_three_cycles():
    assert abs(biphasic(TIME, 50.0, 60.0).mean()) < 1e-12
    inside = oscillation(TIME, 50.0, 60.0)[np.abs(TIME - 50.0) < 29.99]
    assert np.count_nonzero(np.diff(np.sign(inside))) == 6


@pytest.mark.parametrize("name", ["biphasic", "oscillation"])
def test_the_shape_alone_changes(small_model, name):
    bell = ERPSimulator(small_model, seed=4).sample(2)
    other = ERPSimulator(small_model, seed=4, waveform=name).sample(2)
    same = ERPSimulator(small_model, seed=4, waveform=find_shape(name)).sample(2)
    assert other.seed_source == bell.seed_source
    assert (other.sources.any(axis=1) == bell.sources.any(axis=1)).all()
    assert (other.sources < 0.0).any()
    assert (other.sensors == same.sensors).all()
    clean = small_model.leadfield @ other.sources.astype(np.float64)
    ratio = np.linalg.norm(clean) / np.linalg.norm(other.sensors - clean)
    assert 20 * np.log10(ratio) == pytest.approx(5.0, abs=1e-3)


def test_a_function_is_given_times_centre_and_width(small_model):
    seen = []

    def step(time_ms, centre_ms, width_ms):
        seen.append((time_ms, centre_ms, width_ms))
        return (time_ms >= centre_ms).astype(int)

    bell = ERPSimulator(small_model, seed=4).sample(0)
    sample = ERPSimulator(small_model, seed=4, waveform=step).sample(0)
    ((time, centre, width),) = seen
    np.testing.assert_array_equal(time, 1e3 * np.arange(64) / 512.0)
    assert 53 <= width <= 68
    course = sample.sources[sample.seed_source]
    assert (course[time < centre] == 0.0).all()
    # The amplitude is that of the Gaussian of the same centre and width.
    nearest = np.abs(time - centre).argmin()
    ratio = bell.sources[bell.seed_source, nearest] / course.max()
    assert ratio == pytest.approx(gaussian(time, centre, width)[nearest], rel=1e-6)


@pytest.mark.parametrize("waveform", ["square", "Gaussian", "", None, 3, ["gaussian"]])
def test_unknown_waveforms_are_refused_at_once(small_model, waveform):
    with pytest.raises(ValueError, match="waveform must be one of gaussian, biphasic, oscillation"):
        ERPSimulator(small_model, waveform=waveform)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda t, c, w: t[:-1], r"waveform <lambda>: .* shape \(64,\), got \(63,\)"),
        (lambda t, c, w: 1.0, r"got \(\)"),
        (lambda t, c, w: 0.0 * t, "not all zero"),
        (lambda t, c, w: np.full(t.shape, np.nan), "finite"),
    ],
)
def test_what_a_function_gives_is_checked(small_model, values, message):
    with pytest.raises(ValueError, match=message):
        ERPSimulator(small_model, waveform=values).sample(0)
