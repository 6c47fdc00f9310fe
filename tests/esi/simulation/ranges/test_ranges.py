"""Recordings over ranges: a group per number, on caps and heads that the solver knows in part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learnmm_esi.head.farthest import farthest_points
from learnmm_esi.simulation.ranges.caps import CapRange, electrodes_of
from learnmm_esi.simulation.ranges.courses import RELATIONS, SHAPES, CourseRange, Timing, pink
from learnmm_esi.simulation.ranges.disturbances import NoiseRange
from learnmm_esi.simulation.ranges.heads import HeadRange, OtherHeads
from learnmm_esi.simulation.ranges.mixture import Mixture
from learnmm_esi.simulation.ranges.simulator import PatchRange, Ranges, RangeSimulator

HEADS = HeadRange(sources=64, ico=2, others=OtherHeads(count=1, ico=2))
FAST = tuple(shape for shape in SHAPES if shape != "mass")  # whose clips take seconds to simulate
RANGES = Ranges(
    caps=CapRange(electrodes=(16, 40)),
    heads=HEADS,
    patches=PatchRange(counts=(1.0, 1.0, 1.0), hops=(0, 1)),
    courses=CourseRange(times=(1, 60), shapes=FAST),
    together=3,
)


def made(head_models: Path, **changes: object) -> RangeSimulator:
    settings = replace(RANGES, **changes)  # type: ignore[arg-type]
    return RangeSimulator(settings, 5, 40, cache_dir=head_models)


@pytest.fixture(scope="module")
def simulator(head_models: Path) -> RangeSimulator:
    return made(head_models)


def test_a_group_depends_on_its_number_and_draw_alone(simulator, head_models) -> None:
    again = made(head_models)
    for number in (7, 0, 3):
        one, other = simulator.group(number), again.group(number)
        for name in ("sensors", "maps", "courses", "seed_sources", "snr_db"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.model.leadfield, other.model.leadfield)
    fresh = simulator.group(3, draw=1)
    np.testing.assert_array_equal(fresh.model.leadfield, simulator.group(3).model.leadfield)
    assert not np.array_equal(fresh.sensors, simulator.group(3).sensors)


def test_groups_keep_within_their_ranges(simulator) -> None:
    for number in range(12):
        group = simulator.group(number)
        members, sensors, times = group.sensors.shape
        assert members == 3
        assert 16 <= sensors <= 40
        assert 1 <= times <= 60
        assert group.model.leadfield.shape == (sensors, 64)
        assert np.isfinite(group.sensors).all()
        assert np.abs(group.sensors.mean(axis=1)).max() < 1e-6
        assert ((group.snr_db >= -5) & (group.snr_db <= 20)).all()
        for member in range(members):
            seeds = group.seed_sources[member]
            there = seeds >= 0
            assert there[0]
            active = group.maps[member] > 0
            assert (active.sum(axis=0) <= 1).all(), "no region is in two patches"
            assert np.array_equal(active.any(axis=1), there)
            peaks = group.maps[member][there, seeds[there]]
            np.testing.assert_allclose(peaks, 1.0)


def test_without_noise_and_mistakes_the_known_lead_field_explains_everything(head_models) -> None:
    exact = made(
        head_models,
        caps=replace(RANGES.caps, jitter=0.0),
        heads=replace(HEADS, known=1.0, template=0.0, tilt=0.0),
        noise=NoiseRange(snr_db=(200.0, 200.0)),
    )
    for number in range(4):
        group = exact.group(number)
        seen = np.einsum("ms,bst->bmt", group.model.leadfield, group.sources)
        for one, clean in zip(group.sensors, seen, strict=True):
            cosine = (one * clean).sum() / np.linalg.norm(one) / np.linalg.norm(clean)
            assert cosine > 1 - 1e-5


def test_the_ratio_of_noise_is_the_one_that_is_told(head_models) -> None:
    clean = np.random.default_rng(0).standard_normal((20, 30))
    clean -= clean.mean(axis=0)
    places = np.random.default_rng(1).standard_normal((20, 6))
    noise = NoiseRange(artefacts=1.0)
    for seed in range(20):
        noisy, snr_db, share = noise.draw(clean, places, np.random.default_rng(seed))
        ratio = np.linalg.norm(clean) / np.linalg.norm(noisy - clean)
        assert 20 * np.log10(ratio) == pytest.approx(snr_db)
        assert 0 <= share <= 1


@pytest.mark.parametrize("shape", FAST)
@pytest.mark.parametrize("times", [1, 2, 64])
def test_courses_have_their_largest_value_one(shape, times) -> None:
    courses = CourseRange(shapes=(shape,), relations=("independent",), amplitude=(1.0, 1.0))
    for seed in range(5):
        drawn = courses.draw(2, Timing(times, 250.0), np.random.default_rng(seed))
        assert drawn.shape == (2, times)
        np.testing.assert_allclose(np.abs(drawn).max(axis=1), 1.0)


def test_relations_are_what_they_are_called() -> None:
    timing = Timing(200, 1000.0)

    def ratio(relation: str, seed: int) -> np.ndarray:
        courses = CourseRange(shapes=("spike",), relations=(relation,), amplitude=(1.0, 1.0))
        return courses.draw(2, timing, np.random.default_rng(seed))

    for seed in range(5):
        first, second = ratio("equal", seed)
        np.testing.assert_array_equal(first, second)
        first, second = ratio("scaled", seed)
        factor = second[np.abs(first).argmax()] / first[np.abs(first).argmax()]
        np.testing.assert_allclose(second, factor * first, atol=1e-12)
        assert 0.5 <= abs(factor) <= 1
        first, second = ratio("delayed", seed)
        assert any(np.array_equal(np.roll(first, shift), second) for shift in range(51))


def test_ongoing_activity_falls_off_with_the_frequency() -> None:
    courses = pink(200, 256, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(courses, axis=1), 1.0, rtol=1e-6)
    power = (np.abs(np.fft.rfft(courses)) ** 2).mean(axis=0)
    slope = np.polyfit(np.log(np.arange(1, 100)), np.log(power[1:100]), 1)[0]
    assert -1.2 < slope < -0.8


def test_caps_are_drawn_from_montages(simulator) -> None:
    scalp = simulator.heads.template
    assert len(electrodes_of(scalp, "standard_1020")) == 90
    places = electrodes_of(scalp, "standard_1005")
    far = farthest_points(places, 19, 0)
    assert len(set(far.tolist())) == 19
    apart = np.linalg.norm(places[far][:, None] - places[far][None], axis=2)
    assert apart[np.triu_indices(19, 1)].min() > 0.02
    exact = CapRange(electrodes=(32, 32), bad=0.0, jitter=0.0)
    cap = exact.draw(scalp, np.random.default_rng(0))
    assert cap.assumed.shape == (32, 3)
    np.testing.assert_array_equal(cap.assumed, cap.true)


def test_a_mixture_has_its_shares(head_models) -> None:
    narrow = made(
        head_models, patches=PatchRange(counts=(1.0,)), caps=CapRange(electrodes=(16, 16))
    )
    mixed = Mixture([made(head_models), narrow], [0.5, 0.5])
    assert mixed.modes == 39
    groups = [mixed.group(number) for number in range(10)]
    assert {group.maps.shape[1] for group in groups} == {3}
    from_narrow = [len(group.model.leadfield) == 16 for group in groups]
    assert 0 < sum(from_narrow) < 10
    with pytest.raises(ValueError, match="a share of each, got"):
        Mixture([narrow], [0.5, 0.5])
    with pytest.raises(ValueError, match="shares must be positive"):
        Mixture([narrow], [-1.0])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (CapRange, {"montages": ("my cap",)}, "there is no montage 'my cap'"),
        (CapRange, {"montages": ()}, "must name one"),
        (CapRange, {"electrodes": (3, 20)}, "4 <= fewest <= most"),
        (CapRange, {"electrodes": (20.5, 30)}, "must be two ints"),
        (CapRange, {"bad": 2.0}, "bad must be a share"),
        (CapRange, {"jitter": 2.0}, "jitter must be in metres"),
        (HeadRange, {"template": 1.5}, "template must be a share"),
        (HeadRange, {"tilt": -1.0}, "tilt must not be negative"),
        (OtherHeads, {"count": 1.5}, "count must be an int"),
        (OtherHeads, {"skull_ratio": (80.0, 15.0)}, "0 < least <= most"),
        (PatchRange, {"counts": ()}, "counts must be frequencies"),
        (PatchRange, {"hops": (3, 1)}, "0 <= fewest <= most"),
        (PatchRange, {"fall": (0.0, 0.5)}, "0 < least <= most < 1"),
        (CourseRange, {"times": (0, 5)}, "times must be 0 < least <= most"),
        (CourseRange, {"times": (1.0, 5.0)}, "times must be ints"),
        (CourseRange, {"shapes": ("square",)}, f"shapes must be of {', '.join(SHAPES)}"),
        (CourseRange, {"relations": ()}, f"relations must be of {', '.join(RELATIONS)}"),
        (NoiseRange, {"snr_db": (5.0, -5.0)}, "snr_db must be -300 <= least <= most"),
        (NoiseRange, {"background": (0.0, 2.0)}, "background must be 0 <= least"),
        (NoiseRange, {"channels": -1.0}, "channels must lie in 0..2"),
        (NoiseRange, {"artefacts": 2.0}, "artefacts must be a share"),
        (Ranges, {"together": 0}, "together must be a positive int"),
    ],
)
def test_what_is_no_range_is_refused(kind, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_a_simulator_says_what_it_lacks(simulator, head_models) -> None:
    with pytest.raises(ValueError, match=r"seed must be an integer of 0 or more, .* got -1"):
        RangeSimulator(RANGES, -1, 3, cache_dir=head_models)
    with pytest.raises(IndexError, match="group 40 of 40"):
        simulator[40]
