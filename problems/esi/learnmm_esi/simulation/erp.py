"""The SEREEGA-like simulator: cortical patches with one deflection each.

Krol, Pawlitzki, Lotte, Gramann and Zander, "SEREEGA: Simulating event-related EEG activity",
J. Neurosci. Methods 309 (2018), describe the toolbox whose event-related potentials these are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from learnmm.plain import plain
from learnmm_esi.settings import check_positive, check_size
from learnmm_esi.simulation.patches import ONE_PATCH, DrawnPatch, PatchSettings
from learnmm_esi.simulation.simulator import ActivePatch, PatchSimulator
from learnmm_esi.simulation.waveforms import Waveform, evaluate_shape, find_shape
from learnmm_esi.sources import SourceModel


class ERPSimulator(PatchSimulator):
    """Random event-related potentials of cortical patches, made when they are asked for.

    Sample ``index`` depends on ``(seed, index, draw)`` and the settings alone: any order, any
    number of workers, the same numbers.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int, default 0
        Names the data set; give training, validation and test different ones.
    size : int, default 8000
        Number of samples.
    snr_db : float or (float, float), default 5.0
        Frobenius signal-to-noise ratio of the recording in dB; a pair is drawn from uniformly.
    times : int, default 64
        Number of time samples.
    sfreq : float, default 512.0
        Sampling rate in Hz.
    patches : PatchSettings
        How many are active, and of what size; each has a centre, width and amplitude of its own.
        Default: one.
    waveform : {"gaussian", "biphasic", "oscillation"} or callable, default "gaussian"
        Shape of a deflection: one of one sign, as in the protocol; one followed by its opposite,
        as of polyphasic components; a burst of three cycles (50 Hz at a width of 60 ms), as of
        induced rhythms. Or ``waveform(time_ms, centre_ms, width_ms)``, given the times as an
        array and returning as many values.

    Attributes
    ----------
    unit : float
        Dipole moment of amplitude one: 10 nA m, that of about a square centimetre of active cortex.

    Notes
    -----
    With the seed region ``s`` uniform, ``d`` the distance to it and ``d_max`` the largest in the
    patch, a patch with the Gaussian waveform has

    ``x[i, t] = unit a exp(-1/2 (d_i / (d_max/2))^2) exp(-1/2 ((t - c) / (w/6))^2)``

    - centre ``c = ceil(T/2 U(0.5, 1.5) U(0.7, 1.3))`` ms, ``T/2`` half the epoch (62.5 ms);
    - width ``w = ceil(60 U(0.98, 1.02) U(0.9, 1.1))`` ms;
    - amplitude ``a = U(0.5, 1.5) U(0.3, 1.7)``.

    Time runs from zero in steps of ``1/sfreq``. White noise is added to the recording
    (`add_sensor_noise`), the ratio being that of the whole recording, whatever the number of
    patches. Sources are in A m, sensors in V.

    Examples
    --------
    >>> simulator = ERPSimulator(fsaverage_head_model(), seed=0)    # doctest: +SKIP
    >>> batch = simulator.batch(range(32))                          # doctest: +SKIP
    >>> batch.sources.shape, batch.sensors.shape                    # doctest: +SKIP
    ((32, 994, 64), (32, 90, 64))
    """

    unit, edge_weight = 1e-8, math.exp(-2.0)

    def __init__(
        self,
        model: SourceModel,
        seed: int = 0,
        size: int = 8000,
        snr_db: float | tuple[float, float] = 5.0,
        times: int = 64,
        sfreq: float = 512.0,
        patches: PatchSettings = ONE_PATCH,
        waveform: Waveform = "gaussian",
    ) -> None:
        super().__init__(model, seed, size, snr_db, patches)
        self.times = plain(times)
        check_size("ERPSimulator: times", self.times)
        check_positive("ERPSimulator: sfreq", plain(sfreq))
        self.sfreq = float(sfreq)
        self._shape = find_shape(waveform)

    def prepare(self) -> None:
        """Nothing: these samples are formulas."""

    def _waveform(self, index: int, number: int, patch: DrawnPatch) -> NDArray[np.float64]:
        uniform = patch.generator.uniform
        half_epoch = 500.0 * self.times / self.sfreq  # ms
        centre = math.ceil(half_epoch * uniform(0.5, 1.5) * uniform(0.7, 1.3))
        width = math.ceil(60.0 * uniform(0.98, 1.02) * uniform(0.9, 1.1))
        amplitude = uniform(0.5, 1.5) * uniform(0.3, 1.7)
        time = 1e3 * np.arange(self.times, dtype=np.float64) / self.sfreq  # ms
        return amplitude * evaluate_shape(self._shape, time, centre, width)

    def _recording(
        self,
        clean: NDArray[np.float64],
        patches: list[ActivePatch],
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float64], float]:
        return self._with_sensor_noise(clean, generator)
