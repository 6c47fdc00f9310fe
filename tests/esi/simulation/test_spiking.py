"""Recordings of patches that the sensors see alike, with all spikes of their clips."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from learnmm_esi.simulation import clips as clips_module
from learnmm_esi.simulation.noise import add_channel_noise
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.simulation.spikes import BACKGROUND_DEVIATION, SPIKING
from learnmm_esi.simulation.spiking import SpikeSettings, SpikeSimulator

REGIONS = 24
TWO = PatchSettings(2, max_hops=3, distance="euclidean", shape="directed", overlap=True)


@pytest.fixture
def model():
    """Regions in a circle under six sensors, some seen a hundred times better than others."""
    angle = 2 * np.pi * np.arange(REGIONS) / REGIONS
    steps = np.abs(np.subtract.outer(np.arange(REGIONS), np.arange(REGIONS)))
    leadfield = np.random.default_rng(0).standard_normal((6, REGIONS))
    leadfield *= 10.0 ** np.linspace(2, 4, REGIONS)
    return SimpleNamespace(
        leadfield=leadfield - leadfield.mean(axis=0),
        positions=0.05 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1),
        neighbours=sparse.csr_matrix(np.minimum(steps, REGIONS - steps) == 1),
        distances=None,
    )


def stand_in_clips(seed, indices, parameters):
    """A rest of 2 mV with ripples, and two bumps of about 10 mV apart from it."""
    clips = np.zeros((len(indices), 2, 500))
    for clip, index in zip(clips, indices, strict=True):
        draw = np.random.default_rng([seed, index])
        clip[0] = 2.0 + 0.1 * draw.standard_normal(500)
        for centre in (draw.integers(60, 200), draw.integers(300, 440)):
            bump = slice(centre - 20, centre + 21)
            clip[1, bump] = draw.uniform(9, 11) * np.hanning(43)[1:-1]
    return clips.astype(np.float32)


@pytest.fixture(autouse=True)
def cheap_columns(monkeypatch):
    monkeypatch.setattr(clips_module, "parted_clips", stand_in_clips)


@pytest.fixture
def make(model, tmp_path):
    def build(patches=TWO, **settings):
        spikes = settings.pop("spikes", SpikeSettings())
        return SpikeSimulator(
            model, 3, 8, spikes=spikes, patches=patches, cache_dir=tmp_path, **settings
        )

    return build


def test_patches_and_their_spikes_have_the_ratios_asked_for(make, model):
    """Powers over that of independent background in all regions, written out."""
    background = (1e-9 * BACKGROUND_DEVIATION) ** 2 * np.square(model.leadfield).sum()
    apart = replace(TWO, overlap=False)
    simulator = make(apart, spikes=SpikeSettings(spike_snr_db=20.0, patch_snr_db=(4.0, 9.0)))
    ratios = []
    for index in range(8):
        for number, patch in enumerate(simulator.factors(index).patches):
            wave = patch.waveform
            peak = np.abs(wave).argmax()
            window = wave[max(0, peak - 50) : peak + 50]
            seen = model.leadfield @ patch.weights
            power = np.mean(np.outer(seen, window) ** 2) * len(seen)
            ratios.append(10 * np.log10(power / background))
            # Up to its scale the waveform is the clip, the spikes alone enlarged.
            rest, spikes = simulator.clips[number * 2**20 + index].astype(float)
            alone = np.square(model.leadfield[:, patch.seed]).sum()
            mean_square = np.square(1e-9 * spikes[spikes != 0]).mean() * alone
            clip = rest + spikes * np.sqrt(10.0**2 * background / mean_square)
            np.testing.assert_allclose(
                wave + patch.offset, clip * (np.ptp(wave) / np.ptp(clip)), rtol=1e-9
            )
            assert abs(wave.mean()) <= 1e-12 * np.abs(wave).max()
    assert 4.0 <= min(ratios) < 5.5
    assert 7.5 < max(ratios) <= 9.0
    plain = make(spikes=SpikeSettings(spike_snr_db=None)).factors(0).patches[0]
    clip = make().clips[0].sum(axis=0)
    assert np.corrcoef(plain.waveform, clip)[0, 1] == pytest.approx(1.0)


def test_a_shared_region_is_active_with_the_later_patch(make, model):
    simulator = make()
    shared = 0
    for index in range(30):
        sample, (first, second) = simulator.sample(index), simulator.factors(index).patches
        assert sample.seed_sources.tolist() == [first.seed, second.seed]
        assert (sample.patches == [first.regions, second.regions]).all()
        both = first.regions & second.regions
        shared += both.any()
        assert not (first.weights[both]).any()
        assert (second.weights > 0)[second.regions].all()
        for patch, own in ((first, first.regions & ~both), (second, second.regions)):
            expected = np.outer(patch.weights[own], patch.waveform).astype(np.float32)
            np.testing.assert_array_equal(sample.sources[own], expected)
        assert not sample.sources[~(first.regions | second.regions)].any()
        # What the first has alone is what it has without the second.
        one = make(replace(TWO, count=1)).sample(index)
        np.testing.assert_array_equal(
            one.sources[~both & first.regions], sample.sources[~both & first.regions]
        )
    assert 5 < shared < 25


def test_samples_depend_on_seed_index_and_draw_alone(make):
    one, other = make(), make()
    backwards = [one.sample(i, draw=2) for i in (5, 1)]
    batch = other.batch([1, 5], draw=2)
    for name in ("sensors", "sources", "patches", "snr_db"):
        assert (getattr(batch, name) == [getattr(s, name) for s in backwards[::-1]]).all()
    fresh = one.sample(5)
    assert (fresh.sources == backwards[0].sources).all()
    assert not np.allclose(fresh.sensors, backwards[0].sensors, rtol=1e-2)
    size = np.abs(fresh.sensors).max()
    assert np.abs(fresh.sensors.mean(axis=0)).max() < 1e-6 * size
    assert np.abs(fresh.sensors.mean(axis=1)).max() < 1e-6 * size


def test_noise_of_a_channel_goes_by_its_own_power_with_its_mean(make, model):
    draw = np.random.default_rng(5)
    times = 200_000
    signal = draw.standard_normal((6, times)) * 10.0 ** np.arange(-3, 3)[:, None]
    signal -= signal.mean(axis=0)
    offset = np.linspace(0.0, 500.0, 6)
    noise = add_channel_noise(signal, offset, 7.0, draw) - signal
    variance = ((signal + offset[:, None]) ** 2).mean(axis=1) * 10**-0.7
    # Independent noise less its average over six channels; a variance of n numbers is known to
    # sqrt(2 / n), six deviations of which are allowed.
    expected = variance * (1 - 2 / 6) + variance.sum() / 36
    np.testing.assert_allclose(noise.var(axis=1), expected, rtol=6 * np.sqrt(2 / times))
    # The simulator hands over the mean that it takes off.
    simulator = make(snr_db=60.0)
    sample, patches = simulator.sample(0), simulator.factors(0).patches
    clean = sum(np.outer(model.leadfield @ p.weights, p.waveform) for p in patches)
    raw = sum(np.outer(model.leadfield @ p.weights, p.waveform + p.offset) for p in patches)
    variance = (raw**2).mean(axis=1) * 1e-6
    expected = variance * (1 - 2 / 6) + variance.sum() / 36
    found = (sample.sensors - clean).var(axis=1)
    np.testing.assert_allclose(found, expected, rtol=6 * np.sqrt(2 / 500))


def test_first_seeds_in_turn_are_those_of_the_regions(make):
    simulator = make(replace(TWO, in_turn=3))
    seeds = simulator.batch([0, 1, 2, 3, 71, 72]).seed_sources
    assert seeds[:, 0].tolist() == [0, 0, 0, 1, 23, 0]
    assert len(set(seeds[:, 1].tolist())) > 1


def test_columns_have_the_input_asked_for(make):
    simulator = make(spikes=SpikeSettings(input_rate=0.1))
    assert simulator.clips.parameters == replace(SPIKING, input_rate=0.1)
    simulator.prepare()
    assert len(list(simulator.clips._files.folder.glob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SpikeSettings(input_rate=0.0), "input_rate must be positive"),
        (lambda: SpikeSettings(spike_snr_db="15"), "spike_snr_db must be a number, got '15'"),
        (lambda: SpikeSettings(patch_snr_db=(3.0, 1.0)), "low <= high"),
        (lambda: PatchSettings(shape="star"), "'ball' or 'directed', got 'star'"),
        (lambda: PatchSettings(shape="directed"), "expected max_hops=3, got 4"),
        (lambda: PatchSettings(overlap="yes"), "overlap must be true or false, got 'yes'"),
        (lambda: PatchSettings(in_turn=-1), "in_turn must be an integer >= 0, got -1"),
    ],
)
def test_misuse_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_patch_that_no_sensor_sees_is_an_error(make, model):
    model.leadfield[:] = 0.0
    with pytest.raises(ValueError, match=r"no electrode sees the patch around region \d+"):
        make().sample(0)
