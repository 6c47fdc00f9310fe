"""Laws of the regions: nested, sure where the draws agree, as wide as the noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learnmm_esi.inverse.noise import NoiseModes
from learnmm_esi.inverse.noise_spectrum import whitened_in_time
from learnmm_esi.inverse.uncertainty import CREDIBLE, levels, main_sources, radius, resampled

POSITIONS = 0.07 * np.random.default_rng(0).standard_normal((50, 3))
places = st.lists(st.integers(0, 49), min_size=1, max_size=8).map(np.array)
bandwidths = st.floats(1e-4, 0.1)


def mass(found: np.ndarray) -> np.ndarray:
    """What `levels` were made of: each is the sum of those before, and half of its own."""
    order, left = np.argsort(found, kind="stable"), 0.0
    parts = np.empty(len(found))
    for place in order:
        parts[place] = 2 * (found[place] - left)
        left += parts[place]
    return parts


@given(places, bandwidths)
def test_levels_are_those_of_nested_regions(found, bandwidth):
    entered = levels(POSITIONS, found, bandwidth)
    assert ((entered > 0) & (entered <= 1)).all()
    parts = mass(entered)
    assert parts.sum() == pytest.approx(1)
    apart = np.linalg.norm(POSITIONS[:, None] - POSITIONS[found], axis=2)
    density = np.exp(-((apart / bandwidth) ** 2) / 2).sum(axis=1)
    np.testing.assert_allclose(parts, density / density.sum(), atol=1e-9)
    assert density[entered.argmin()] == density.max()
    assert entered.min() <= 0.5  # so no region of a higher level is empty


@given(places, bandwidths)
def test_ninety_percent_lie_within_the_radius(found, bandwidth):
    entered = levels(POSITIONS, found, bandwidth)
    parts, size = mass(entered), radius(POSITIONS, found, bandwidth)
    apart = np.linalg.norm(POSITIONS - POSITIONS[entered.argmin()], axis=1)
    assert parts[apart <= size].sum() >= CREDIBLE - 1e-9
    assert parts[apart < size].sum() < CREDIBLE + 1e-9


def test_draws_that_agree_give_one_region_and_others_more():
    one, several = np.full(8, 3), np.arange(8)
    assert (levels(POSITIONS, one, 1e-4) <= CREDIBLE).nonzero()[0].tolist() == [3]
    assert set((levels(POSITIONS, several, 1e-4) <= CREDIBLE).nonzero()[0]) <= set(several)
    assert (levels(POSITIONS, several, 0.01) <= CREDIBLE).sum() > (
        levels(POSITIONS, one, 0.01) <= CREDIBLE
    ).sum()
    assert radius(POSITIONS, one, 1e-4) == 0


def test_the_main_source_is_the_largest_over_time_in_any_unit():
    sources = np.zeros((2, 4, 3), np.float32)
    sources[0, 1] = 1.0
    sources[0, 2, 0] = 1.5  # for one sample only
    sources[1, 3, 1] = -1.0
    for unit in (1.0, 1e-30, 1e30):
        np.testing.assert_array_equal(main_sources(np.float32(unit) * sources), [1, 3])


@pytest.fixture(scope="module")
def recorded():
    """A lead field of 12 sensors, its modes, and what they see of one source without noise."""
    generator = np.random.default_rng(1)
    gain = generator.standard_normal((12, 50))
    gain -= gain.mean(axis=0)
    image = np.outer(gain[:, 7], np.sin(np.arange(64) / 5))
    noise = generator.standard_normal(image.shape)
    return NoiseModes.of(gain), image, noise - noise.mean(axis=0)


@pytest.mark.parametrize("size", [0.1, 1.0])
def test_draws_are_as_noisy_as_the_recording(recorded, size):
    modes, image, noise = recorded
    y = image / np.linalg.norm(image) + size * noise / np.linalg.norm(noise)
    drawn = resampled(y, 1e-9 * image, modes, 200, seed=0)
    white = whitened_in_time(torch.from_numpy(y[None]), modes)
    share = float(white.told.share)
    assert np.square(drawn).sum((1, 2)).mean() == pytest.approx(1, abs=0.05)
    signal = image * np.sqrt(1 - share) / np.linalg.norm(image)
    np.testing.assert_allclose(drawn.mean(axis=0), signal, atol=0.02)
    fresh = drawn - signal
    assert np.square(fresh).sum((1, 2)).mean() == pytest.approx(share, rel=0.05)
    np.testing.assert_allclose(fresh.mean(axis=1), 0, atol=1e-12)  # as an average reference
    spectrum = np.linalg.eigvalsh(np.einsum("dmt,dnt->mn", fresh, fresh))[1:]
    power = np.ones(64) if white.spectrum is None else white.spectrum.deviation[0].square().numpy()
    samples = 200 * power.sum() ** 2 / np.square(power).sum()
    # White over the modes: eigenvalues scatter by twice the root of modes over samples.
    assert spectrum.max() - spectrum.min() < 4 * np.sqrt(11 / samples) * spectrum.mean()


def test_draws_follow_from_the_seed_alone(recorded):
    modes, image, noise = recorded
    y = image + 0.1 * noise
    first = resampled(y, image, modes, 3, seed=4)
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    np.testing.assert_array_equal(resampled(y, image, modes, 3, seed=4), first)
    np.testing.assert_allclose(resampled(1e-6 * y, 1e6 * image, modes, 3, seed=4), first, atol=1e-9)
    assert not np.array_equal(resampled(y, image, modes, 3, seed=5), first)
