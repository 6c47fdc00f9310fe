"""The classical inverses: our kernel against MNE-Python's operators, and their known properties."""

from __future__ import annotations

import numpy as np
import pytest

from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel, mne_python_inverse

# MNE-Python stops its own eLORETA iteration at 1e-6; the others are closed forms.
AGREEMENT = {"MNE": 1e-10, "dSPM": 1e-10, "sLORETA": 1e-10, "eLORETA": 1e-6}
METHODS = tuple(AGREEMENT)


def random_recording(model, times=7, seed=0):
    generator = np.random.default_rng(seed)
    sensors = 1e-6 * generator.standard_normal((len(model.leadfield), times))
    return sensors - sensors.mean(axis=0)


@pytest.mark.parametrize("lambda2", [1 / 25, 1 / 9])
@pytest.mark.parametrize("method", METHODS)
def test_kernel_equals_mne_python(small_model, method, lambda2):
    sensors = random_recording(small_model)
    expected = mne_python_inverse(small_model, sensors, method, lambda2)
    ours = apply_kernel(inverse_kernel(small_model.leadfield, method, lambda2), sensors)
    error = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
    assert error < AGREEMENT[method]


@pytest.mark.parametrize("method", METHODS)
def test_kernel_equals_mne_python_on_fsaverage(fsaverage_model, method):
    sensors = random_recording(fsaverage_model)
    expected = mne_python_inverse(fsaverage_model, sensors, method)
    ours = apply_kernel(inverse_kernel(fsaverage_model.leadfield, method), sensors)
    error = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
    assert error < AGREEMENT[method]


@pytest.mark.parametrize("method", METHODS)
def test_kernel_ignores_the_reference(small_model, method):
    kernel = inverse_kernel(small_model.leadfield, method)
    np.testing.assert_allclose(kernel.sum(axis=1), 0.0, atol=1e-9 * np.abs(kernel).max())
    shifted = inverse_kernel(small_model.leadfield + 3.0, method)
    assert np.linalg.norm(shifted - kernel) < 1e-8 * np.linalg.norm(kernel)


@pytest.mark.parametrize("method", ["sLORETA", "eLORETA"])
def test_a_single_source_is_found_exactly_without_noise(small_model, method):
    """Pascual-Marqui's theorem: zero localization error for one point source."""
    gain = small_model.leadfield - small_model.leadfield.mean(axis=0)
    found = np.abs(inverse_kernel(gain, method) @ gain)  # column j: the estimate of source j alone
    assert (found.argmax(axis=0) == np.arange(len(found))).all()


def test_minimum_norm_solves_its_normal_equations(small_model):
    """K y minimizes ||y - G x||^2 + lambda2 c ||x||^2."""
    gain = small_model.leadfield - small_model.leadfield.mean(axis=0)
    y = random_recording(small_model)
    x = inverse_kernel(gain, "MNE", 0.1) @ y
    c = np.trace(gain @ gain.T) / (len(gain) - 1)
    residual = gain.T @ (gain @ x - y) + 0.1 * c * x
    assert np.linalg.norm(residual) < 1e-10 * np.linalg.norm(gain.T @ y)


def test_mne_python_takes_batches(small_model):
    batch = np.stack([random_recording(small_model, seed=i) for i in range(3)])
    together = mne_python_inverse(small_model, batch, "MNE")
    np.testing.assert_array_equal(together[1], mne_python_inverse(small_model, batch[1], "MNE"))


def test_apply_kernel_takes_batches(small_model):
    kernel = inverse_kernel(small_model.leadfield)
    batch = np.stack([random_recording(small_model, seed=i) for i in range(3)])
    together = apply_kernel(kernel, batch)
    np.testing.assert_allclose(together[1], kernel @ batch[1], rtol=1e-10, atol=1e-14)
    assert apply_kernel(kernel, batch.astype(np.float32)).dtype == np.float32


def test_misuse_is_named(small_model):
    y = random_recording(small_model)
    with pytest.raises(ValueError, match="'LCMV'"):
        inverse_kernel(small_model.leadfield, "LCMV")
    with pytest.raises(ValueError, match="'LCMV'"):
        mne_python_inverse(small_model, y, "LCMV")
    with pytest.raises(ValueError, match="lambda2"):
        inverse_kernel(small_model.leadfield, lambda2=0.0)
    with pytest.raises(ValueError, match="leadfield"):
        inverse_kernel(np.zeros((4, 6)))
    with pytest.raises(ValueError, match="leadfield"):
        inverse_kernel(np.full((4, 6), np.nan))
    with pytest.raises(ValueError, match=r"\(20, times\)"):
        mne_python_inverse(small_model, y[:-1])
    with pytest.raises(ValueError, match=r"20, times\)"):
        apply_kernel(inverse_kernel(small_model.leadfield), y[:-1])
