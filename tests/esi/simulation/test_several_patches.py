"""Several active patches: where they lie, what they add up to, and that one stays what it was."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from learnmm_esi.metrics import Evaluator
from learnmm_esi.simulation import clips as clips_module
from learnmm_esi.simulation import nmm as nmm_module
from learnmm_esi.simulation.clips import SHARD
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.nmm import NMMSimulator
from learnmm_esi.simulation.noise import add_sensor_noise, frobenius_norm, scale_to_snr
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.simulation.samples import stack_samples
from learnmm_esi.sources import Patches

REGIONS = 48
FIELDS = ("sources", "sensors", "seed_source", "snr_db", "index", "seed_sources")

# Written down before there could be several patches: of samples 0 and 7 of the simulators below,
# the seed, the time of its peak, its peak and the first three sensors then.
STORED = {
    "erp": [
        (0, 38, 28, 9.052525e-09, [1.0157116e-05, 5.6165413e-06, 2.3542411e-06]),
        (7, 25, 36, 9.7787298e-09, [-1.1503917e-05, 5.6498889e-06, 6.5844024e-06]),
    ],
    "nmm": [
        (0, 38, 369, 9.5739967e-09, [1.3289618e-05, 1.3643975e-05, 9.1474076e-06]),
        (7, 25, 261, 9.5377004e-09, [-1.6286293e-05, 2.2817653e-06, 9.7899492e-06]),
    ],
}


def ring(regions: int) -> SimpleNamespace:
    """Regions in a circle, so that a patch of k hops is 2 k + 1 neighbours, under 6 sensors."""
    angle = 2 * np.pi * np.arange(regions) / regions
    steps = np.abs(np.subtract.outer(np.arange(regions), np.arange(regions)))
    steps = np.minimum(steps, regions - steps)
    leadfield = np.random.default_rng(0).standard_normal((6, regions))
    return SimpleNamespace(
        leadfield=1e3 * (leadfield - leadfield.mean(axis=0)),
        positions=0.05 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1),
        neighbours=sparse.csr_matrix(steps == 1),
        distances=0.01 * steps,
    )


@pytest.fixture
def model():
    return ring(REGIONS)


def stand_in_clips(seed, indices, choice):
    """Spikes without integration: a bump of 10 mV somewhere over little noise."""
    generators = [np.random.default_rng([seed, i]) for i in indices]
    time = np.arange(500)
    return np.stack(
        [
            10.0 * np.exp(-0.5 * ((time - g.integers(60, 440)) / 8.0) ** 2)
            + 0.1 * g.standard_normal(500)
            for g in generators
        ]
    ).astype(np.float32)


@pytest.fixture(autouse=True)
def cheap_columns(monkeypatch):
    bank = np.random.default_rng(9).standard_normal((64, 500)).astype(np.float32)
    monkeypatch.setattr(clips_module, "spike_clips", stand_in_clips)
    monkeypatch.setattr(
        nmm_module, "_background_bank", lambda _, bits: nmm_module._on_grid(bank, bits)
    )


@pytest.fixture(params=["erp", "nmm"])
def kind(request):
    return request.param


@pytest.fixture
def make(model, tmp_path):
    def build(kind, model=model, seed=3, count=1, max_hops=4, **settings):
        settings["patches"] = PatchSettings(count, max_hops)
        if kind == "erp":
            return ERPSimulator(model, seed, **settings)
        return NMMSimulator(model, seed, cache_dir=tmp_path, **settings)

    return build


def one_patch(kind, simulator, model, index, draw):
    """Sources, recording, seed and ratio of one patch, as they were before there were several."""
    source = np.random.default_rng([simulator.seed, index, 0])
    noise = np.random.default_rng([simulator.seed, index, 1, draw])
    seed = int(source.integers(REGIONS))
    edge = math.exp(-2.0) if kind == "erp" else 0.5
    weights = Patches(model, edge_weight=edge).weights(seed, int(source.integers(1, 5)))
    if kind == "erp":
        uniform = source.uniform
        centre = math.ceil(62.5 * uniform(0.5, 1.5) * uniform(0.7, 1.3))
        width = math.ceil(60.0 * uniform(0.98, 1.02) * uniform(0.9, 1.1))
        amplitude = uniform(0.5, 1.5) * uniform(0.3, 1.7)
        time = 1e3 * np.arange(64) / 512.0
        waveform = 1e-8 * (amplitude * np.exp(-0.5 * ((time - centre) / (width / 6.0)) ** 2))
        snr_db = float(noise.uniform(5.0, 5.0))
        clean = np.outer(model.leadfield @ weights, waveform)
        sensors = add_sensor_noise(clean, snr_db, noise)
    else:
        clip = simulator.clips[index].astype(np.float64)
        waveform = 1e-9 * (clip - clip.mean())
        clean = np.outer(model.leadfield @ weights, waveform)
        ratio = float(noise.uniform(10.0, 20.0))
        silent = np.flatnonzero(weights == 0.0)
        bank = nmm_module._background_bank(3, simulator._bits)
        activity = bank[noise.integers(len(bank), size=len(silent))]
        background = nmm_module._on_grid(model.leadfield, simulator._bits)[:, silent] @ activity
        peak = int(np.abs(waveform).argmax())
        window = slice(max(0, peak - 50), peak + 50)
        part = background[:, window]
        scale = frobenius_norm(scale_to_snr(part, clean[:, window], ratio))
        clean = clean + background * (scale / frobenius_norm(part))
        snr_db = float(noise.uniform(5.0, 15.0))
        sensors = add_sensor_noise(clean, snr_db, noise)
        sensors = sensors - sensors.mean(axis=1, keepdims=True)
    return np.outer(weights, waveform).astype(np.float32), sensors.astype(np.float32), seed, snr_db


@pytest.mark.parametrize("number", [3, 2**40 + 1], ids=["small", "large"])
def test_one_patch_is_the_default_and_keeps_every_byte(kind, make, model, number):
    simulator = make(kind, seed=number)
    for index, draw in [(i, d) for i in range(20) for d in (0, 2)]:
        sample = simulator.sample(index, draw)
        sources, sensors, seed, snr_db = one_patch(kind, simulator, model, index, draw)
        assert sample.sources.tobytes() == sources.tobytes()
        assert sample.sensors.tobytes() == sensors.tobytes()
        assert (sample.seed_source, sample.snr_db) == (seed, snr_db)
        assert sample.seed_sources.tolist() == [seed]


@pytest.mark.parametrize("number", [0, 1])
def test_one_patch_keeps_the_stored_values(kind, make, number):
    index, seed, time, peak, sensors = STORED[kind][number]
    sample = make(kind).sample(index)
    row = sample.sources[seed]
    assert (sample.seed_source, int(np.abs(row).argmax())) == (seed, time)
    assert row[time] == pytest.approx(peak, rel=1e-6)
    np.testing.assert_allclose(sample.sensors[:3, time], sensors, rtol=1e-4)


def test_patches_are_balls_that_share_no_region_each_with_its_own_waveform(kind, make, model):
    simulators = [make(kind, count=p) for p in (1, 2, 3)]
    shapes = Patches(model, edge_weight=math.exp(-2.0) if kind == "erp" else 0.5)
    radii = []
    for index in range(60):
        samples = [simulator.sample(index) for simulator in simulators]
        whole = samples[-1]
        assert whole.seed_source == whole.seed_sources[0]
        taken = np.zeros(REGIONS, bool)
        before = np.zeros_like(whole.sources)
        courses = []
        for number, sample in enumerate(samples):
            # What the next patch adds to the earlier ones, which stay as they were.
            assert (sample.seed_sources == whole.seed_sources[: number + 1]).all()
            part, before = sample.sources - before, sample.sources
            seed = sample.seed_sources[number]
            course = part[seed].astype(np.float64)
            weights = part[:, np.abs(course).argmax()] / course[np.abs(course).argmax()]
            active = weights > 0.0
            radius = (active.sum() - 1) // 2
            np.testing.assert_allclose(weights, shapes.weights(seed, radius), atol=1e-6)
            limit = 1e-6 * np.abs(course).max()
            np.testing.assert_allclose(part, np.outer(weights, course), atol=limit)
            assert not (taken & active).any()
            taken |= active
            radii.append(radius)
            courses.append(course / np.abs(course).max())
        for a in range(3):
            for b in range(a):
                assert np.abs(courses[a] - courses[b]).max() > 0.01
    assert set(radii) == {1, 2, 3, 4}


def test_samples_do_not_depend_on_order_or_on_other_samples(kind, make):
    simulator = make(kind, count=(1, 3))
    backwards = stack_samples([simulator.sample(i) for i in (5, 3, 1)])
    again = make(kind, count=(1, 3)).batch([1, 3, 5])
    for name in FIELDS:
        assert (getattr(backwards, name)[::-1] == getattr(again, name)).all()
    fresh = simulator.sample(3, draw=1)
    assert (fresh.sources == again.sources[1]).all()
    assert not np.allclose(fresh.sensors, again.sensors[1], rtol=1e-2)


def test_number_of_patches_is_uniform_in_its_range(make):
    batch = make("erp", count=(1, 3)).batch(range(300))
    assert batch.seed_sources.shape == (300, 3)
    assert (batch.seed_sources[:, 0] == batch.seed_source).all()
    number = (batch.seed_sources >= 0).sum(axis=1)
    assert np.abs(np.bincount(number, minlength=4)[1:] - 100).max() < 40  # five deviations
    assert abs(np.corrcoef(number, batch.seed_source)[0, 1]) < 0.3  # they are drawn apart
    for seeds, count in zip(batch.seed_sources, number, strict=True):
        assert len(set(seeds[:count])) == count
        assert (seeds[count:] == -1).all()
    fixed = make("erp", count=(2, 2)).sample(4)
    assert (fixed.sensors == make("erp", count=2).sample(4).sensors).all()


@pytest.mark.parametrize("settings", [{}, {"source_snr_db": None}], ids=["erp", "nmm"])
def test_the_sensor_ratio_is_that_of_all_patches(make, model, settings):
    simulator = make("nmm" if settings else "erp", count=3, snr_db=7.0, **settings)
    for index in range(10):
        sample = simulator.sample(index)
        clean = model.leadfield @ sample.sources.astype(np.float64)
        ratio = np.linalg.norm(clean) / np.linalg.norm(sample.sensors - clean)
        # The mean over 500 samples, removed for NMM, takes some of the noise's power.
        tolerance = 0.05 if settings else 1e-4
        assert 20 * np.log10(ratio) == pytest.approx(7.0, abs=tolerance)


def test_the_source_ratio_is_that_of_all_patches_at_the_first_spike(make, model):
    simulator = make("nmm", count=3, snr_db=120.0, source_snr_db=12.0)
    for index in range(10):
        sample = simulator.sample(index)
        clean = model.leadfield @ sample.sources.astype(np.float64)
        peak = int(np.abs(sample.sources[sample.seed_source]).argmax())
        rest = sample.sensors - clean  # less its mean over time: hence the tolerance
        window = slice(max(0, peak - 50), peak + 50)
        signal, noise = np.linalg.norm(clean[:, window]), np.linalg.norm(rest[:, window])
        assert 20 * np.log10(signal / noise) == pytest.approx(12.0, abs=0.3)


def test_background_is_outside_all_patches(make, model):
    """With a sensor at every region, the background's recording is the background itself."""
    model.leadfield = np.eye(REGIONS) - 1 / REGIONS
    simulator = make("nmm", model, count=3, snr_db=100.0, source_snr_db=0.0, max_hops=2)
    for index in range(5):
        sample = simulator.sample(index)
        rest = sample.sensors - model.leadfield @ sample.sources
        active = sample.sources.any(axis=1)
        # Inside the patches only the average reference is left, the same everywhere.
        assert np.ptp(rest[active], axis=0).max() < 0.01 * np.abs(rest[~active]).max()
        # Elsewhere every region has one clip of the bank, of unit power: none counts twice.
        power = rest[~active].var(axis=1)
        assert power.max() < 2.0 * power.min()


def test_every_patch_has_its_own_clips_and_prepare_makes_them(make, monkeypatch):
    asked = []

    def counted(seed, indices, choice):
        asked.append(indices[0])
        return stand_in_clips(seed, indices, choice)

    monkeypatch.setattr(clips_module, "spike_clips", counted)
    simulator = make("nmm", count=(1, 3), size=SHARD + 1)
    simulator.prepare()
    assert asked == [p * 2**20 + start for p in range(3) for start in (0, SHARD)]
    simulator.batch([0, 7, SHARD])
    assert len(asked) == 6
    assert simulator.clips[0].tobytes() != simulator.clips[2**20].tobytes()


def test_the_evaluator_looks_at_the_patch_it_is_given(make, model):
    batch = make("erp", count=(2, 3)).batch(range(8))
    evaluate = Evaluator(model, 512.0)
    for number in (0, 1):
        metrics = evaluate(batch.sources, batch.sources, batch.seed_sources[:, number])
        assert metrics.localization_error.shape == (8,)
        assert (metrics.auc == 1.0).all()
    # The truth as its own estimate, windowed to one patch, is right about that patch.
    near = Evaluator(model, 512.0, window_hops=1)
    for number in (0, 1):
        found = near(batch.sources, batch.sources, batch.seed_sources[:, number])
        assert (found.localization_error == 0.0).all()
    with pytest.raises(IndexError, match="seed_source must lie in"):
        evaluate(batch.sources, batch.sources, batch.seed_sources[:, 2])


def test_no_room_is_an_error(kind, make):
    small = make(kind, ring(11), count=4, max_hops=1)  # three patches of three at the most
    with pytest.raises(ValueError, match=r"sample 2 has no room for patch [34] of 4 .* 11 regions"):
        small.sample(2)
    # A crowded model gets smaller patches before it gets none.
    crowded = make(kind, ring(20), count=2, max_hops=4)
    sizes = [crowded.sample(i).sources.any(axis=1).sum() for i in range(40)]
    assert max(sizes) <= 18


def test_no_background_is_left_to_record(make):
    settings = {"model": ring(5), "max_hops": 8}  # all five regions from two hops on
    with pytest.raises(ValueError, match="cover every region"):
        make("nmm", **settings).batch(range(20))
    assert len(make("nmm", source_snr_db=None, **settings).batch(range(20)).sensors) == 20
