"""The Jansen-Rit column: three populations whose potentials make an EEG-like signal.

Equations: Jansen and Rit, "Electroencephalogram and visual evoked potential generation in a
mathematical model of coupled cortical columns", Biol. Cybern. 73 (1995), Eq. 6. Time is in
milliseconds and potentials are in millivolts throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_STATES = 6
"""Potentials ``y0, y1, y2`` in mV, then their derivatives ``y3, y4, y5`` in mV/ms."""


@dataclass(frozen=True)
class Synapse:
    """How a population answers to what reaches it.

    Attributes
    ----------
    gain : float
        ``A`` or ``B``, height of the response, mV.
    rate : float
        ``a`` or ``b``, inverse of its time constant, 1/ms.
    """

    gain: float
    rate: float


NORMAL_GAIN = 3.25  # mV, of the excitatory synapses of a normal column


@dataclass(frozen=True)
class JansenRitParameters:
    """Constants of a column, those of the interictal-spike simulations of EEG source imaging.

    Attributes
    ----------
    excitatory, inhibitory : Synapse
        With ``A, a`` and ``B, b``.
    threshold : float
        ``v0``, potential of half the maximal firing rate, mV.
    half_firing_rate : float
        ``e0``, half the maximal firing rate, 1/ms.
    steepness : float
        ``r``, 1/mV.
    connections : tuple of float
        ``C1, C2, C3, C4``, numbers of synapses.
    input_rate : float
        Mean of the external input, 1/ms.
    input_range : tuple of float
        Lowest and highest external input, 1/ms; half their difference sizes the noise.
    """

    excitatory: Synapse = Synapse(gain=NORMAL_GAIN, rate=0.1)
    inhibitory: Synapse = Synapse(gain=22.0, rate=0.05)
    threshold: float = 6.0
    half_firing_rate: float = 0.0025
    steepness: float = 0.56
    connections: tuple[float, float, float, float] = (135.0, 108.0, 33.75, 33.75)
    input_rate: float = 0.087
    input_range: tuple[float, float] = (0.03, 0.15)

    @property
    def noise_deviation(self) -> float:
        """Standard deviation that the input noise adds to ``y4`` in one millisecond, mV/ms.

        ``s = a 3.25 (p_max - p_min) / 2``; the intensity ``s^2 / 2`` of the protocol is that of
        ``dy4 = ... dt + sqrt(2 intensity) dW``. The gain 3.25 mV stays that of a normal column.
        """
        low, high = self.input_range
        return self.excitatory.rate * NORMAL_GAIN * (high - low) / 2.0


def jansen_rit_derivative(state: Floats, parameters: JansenRitParameters) -> Floats:
    """Right-hand side of the Jansen-Rit equations without noise.

    Parameters
    ----------
    state : ndarray of float64, shape (6, ...)
        ``y0 .. y5``: mV and mV/ms.
    parameters : JansenRitParameters
        Constants of the columns.

    Returns
    -------
    ndarray of float64, shape (6, ...)
        In mV/ms and mV/ms^2.

    Notes
    -----
    With ``S(v) = 2 e0 / (1 + exp(r (v0 - v)))`` and ``p`` the mean input,

    - ``y0'' = A a S(y1 - y2) - 2 a y0' - a^2 y0``
    - ``y1'' = A a (p + C2 S(C1 y0)) - 2 a y1' - a^2 y1``
    - ``y2'' = B b C4 S(C3 y0) - 2 b y2' - b^2 y2``
    """
    flat = np.asarray(state, dtype=np.float64).reshape(N_STATES, -1)
    return _RightHandSide(parameters)(flat).reshape(np.shape(state))


class _RightHandSide:
    """The equations with their constants as columns, one row for each population.

    All three populations in one operation each: for a few hundred columns the time goes into
    calling numpy, not into its arithmetic.
    """

    def __init__(self, parameters: JansenRitParameters):
        c1, c2, c3, c4 = parameters.connections
        a, b = parameters.excitatory.rate, parameters.inhibitory.rate
        excitation, inhibition = parameters.excitatory.gain * a, parameters.inhibitory.gain * b
        full_rate = 2.0 * parameters.half_firing_rate
        self.inner = np.array([[c1], [c3]])
        self.outer = full_rate * np.array([[excitation], [excitation * c2], [inhibition * c4]])
        self.input = np.array([[0.0], [excitation * parameters.input_rate], [0.0]])
        self.damping = np.array([[2.0 * a], [2.0 * a], [2.0 * b]])
        self.stiffness = np.array([[a * a], [a * a], [b * b]])
        self.steepness, self.threshold = parameters.steepness, parameters.threshold

    def __call__(self, state: Floats) -> Floats:
        values, slopes = state[:3], state[3:]
        firing = np.empty_like(values)
        np.subtract(values[1], values[2], out=firing[0])
        np.multiply(self.inner, values[0], out=firing[1:])
        # 1 / (1 + exp(r (v0 - v)))
        np.subtract(self.threshold, firing, out=firing)
        firing *= self.steepness
        np.exp(firing, out=firing)
        firing += 1.0
        derivative = np.empty_like(state)
        derivative[:3] = slopes
        acceleration = derivative[3:]
        np.divide(self.outer, firing, out=acceleration)
        acceleration += self.input
        acceleration -= self.damping * slopes
        acceleration -= self.stiffness * values
        return derivative


def simulate_columns(noise: Floats, parameters: JansenRitParameters, step: float = 0.5) -> Floats:
    """Integrate uncoupled noisy columns from rest by the stochastic Heun scheme.

    Parameters
    ----------
    noise : ndarray of float64, shape (steps, columns)
        Independent standard normal numbers; they enter the excitatory input (``y4``).
    parameters : JansenRitParameters
        Constants of the columns.
    step : float, default 0.5
        Time step in ms.

    Returns
    -------
    ndarray of float64, shape (steps, columns)
        ``y1 - y2`` after each step, mV: the net potential of the pyramidal cells, which is what
        EEG sees.

    Notes
    -----
    For additive noise ``x' = x + h/2 (f(x) + f(x + h f(x) + w)) + w``, ``w = sqrt(h) s n``
    (Kloeden and Platen 1992, section 15.5, weak order 2 for additive noise).
    """
    if noise.ndim != 2 or 0 in noise.shape:
        raise ValueError(f"simulate_columns: noise must be (steps, columns), got {noise.shape}")
    if not step > 0.0:
        raise ValueError(f"simulate_columns: step must be > 0, got {step}")
    derivative = _RightHandSide(parameters)
    kick = parameters.noise_deviation * math.sqrt(step)
    state = np.zeros((N_STATES, noise.shape[1]))
    output = np.empty_like(noise)
    for k, normal in enumerate(noise):
        push = kick * normal
        slope = derivative(state)
        guess = state + step * slope
        guess[4] += push
        slope += derivative(guess)
        slope *= 0.5 * step
        state += slope
        state[4] += push
        np.subtract(state[1], state[2], out=output[k])
    return output
