"""The equations of a column and their integration."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from learnmm_esi.simulation.jansen_rit import (
    JansenRitParameters,
    jansen_rit_derivative,
    simulate_columns,
)
from learnmm_esi.simulation.spikes import SPIKING

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
    parameters = replace(NORMAL, excitatory=replace(NORMAL.excitatory, gain=TVB_GAIN[row]))
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
    parameters = replace(NORMAL, excitatory=replace(NORMAL.excitatory, gain=gain))
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


def test_misuse_is_named():
    with pytest.raises(ValueError, match=r"\(steps, columns\)"):
        simulate_columns(np.zeros(4), NORMAL)
    with pytest.raises(ValueError, match="step"):
        simulate_columns(np.zeros((4, 1)), NORMAL, step=0.0)
