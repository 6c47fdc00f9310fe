"""Stimulated places are found where they are, and no run has a say in its own setting."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import mne
import numpy as np
import pytest

from eeg_learning import small
from eeg_stimulation import BAD, CHANNELS, OFFSET, RUNS, SOURCES
from learnmm_esi.head.farthest import farthest_points
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.method import Recordings as NetworkRecordings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings.localize_mi.contacts import read_site
from learnmm_esi.recordings.localize_mi.files import find_runs
from learnmm_esi.recordings.localize_mi.heads import read_head, regions_of
from learnmm_esi.recordings.localize_mi.methods import (
    METHODS,
    Method,
    SourceMap,
    choose_methods,
    learned,
    reconstruction,
)
from learnmm_esi.recordings.localize_mi.responses import read_response
from learnmm_esi.recordings.localize_mi.selection import (
    choose_settings,
    chosen_trials,
    summaries,
    worst_tenth,
)
from learnmm_esi.recordings.localize_mi.trials import Protocol, Trial, run_trials
from learnmm_esi.recordings.settings import InverseSettings

LINEAR = choose_methods(("sLORETA",))[0]
FEW = Method(
    "few steps", "weight", (1.0,), partial(reconstruction, lambda w: InverseSettings(w, max_iter=2))
)
PROTOCOL = Protocol(channels=(256, 24, 16), methods=(LINEAR, FEW))


def tried(runs, protocol):
    return [t for _, trials in run_trials(runs, protocol, lambda run: False) for t in trials]


@pytest.fixture(scope="module")
def trials(stimulation_folder):
    return tried(find_runs(stimulation_folder), PROTOCOL)


@pytest.fixture(scope="module")
def run(stimulation_folder):
    return find_runs(stimulation_folder)[0]


@pytest.fixture(scope="module")
def head(run):
    return read_head(run.forward, 2 * SOURCES)


@pytest.fixture(scope="module")
def response(run, head):
    return read_response(run, head.model, -0.05)


# ------------------------------------------------------------------------------------------ places


def test_sloreta_finds_every_place_where_there_is_hardly_noise(trials):
    found = [t for t in trials if t.method == "sLORETA"]
    assert len(found) == len(RUNS) * 3 * len(PROTOCOL.settings(LINEAR))
    for trial in found:
        assert trial.error == trial.floor == trial.floor_side == trial.error_side
        assert trial.floor == pytest.approx(1e3 * OFFSET, abs=1e-3)
    assert {(t.channels, t.used) for t in found} == {(256, CHANNELS - 1), (24, 24), (16, 16)}


def test_no_method_is_nearer_than_the_nearest_source(trials):
    for trial in trials:
        assert trial.error >= trial.floor
        assert trial.error_side >= trial.floor_side
    assert {t.method for t in trials} == {"sLORETA", "few steps"}


def test_the_hemisphere_is_that_of_the_contacts(run, head):
    truth, elsewhere = RUNS[0].source, SOURCES + 3

    def prepare(head, response):
        strength = np.zeros(2 * SOURCES)
        strength[[truth, elsewhere]] = 1.0, 2.0
        return lambda evoked, value: SourceMap(head.model.positions, head.left, strength)

    protocol = Protocol(channels=(16,), methods=(Method("both", "x", ("",), prepare),))
    trial = tried([run], protocol)[0]
    apart = head.model.positions[[truth, elsewhere]] - read_site(run).position
    assert trial.error == pytest.approx(1e3 * np.linalg.norm(apart[1]))
    assert trial.error_side == trial.floor == pytest.approx(1e3 * np.linalg.norm(apart[0]))


def test_contacts_are_in_the_units_they_say(stimulation_folder, head):
    sites = [read_site(run) for run in find_runs(stimulation_folder)]
    for site, made in zip(sites, RUNS, strict=True):
        expected = head.model.positions[made.source] + [0.0, 0.0, OFFSET]
        np.testing.assert_allclose(site.position, expected, atol=1e-9)
        assert site.contacts == f"{made.contacts[0]}-9"
        assert site.left == (made.source < SOURCES)


def test_weights_see_regions_wherever_the_cortex_lies(
    run, head, coarse_model, head_models, tmp_path, monkeypatch
):
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    solver = SourceSolver(coarse_model, small("mm-net", steps=2), NetworkRecordings(16, None))
    save_solver(tmp_path / "any.safetensors", solver, {"data": "erp", "training": {}}, {})
    method = Method("learned", "weights", (str(tmp_path / "any.safetensors"),), learned)
    found = tried([run], Protocol(channels=(24,), methods=(method,)))
    assert [t.used for t in found] == 3 * [24]
    regions = regions_of(head, coarse_model.settings)
    assert regions.positions.shape == coarse_model.positions.shape
    apart = np.linalg.norm(regions.positions - coarse_model.positions, axis=1)
    assert np.median(apart) < 0.015  # as far as sources are from each other
    np.testing.assert_array_equal(regions.left, regions.positions[:, 0] < 0)
    nearest = np.linalg.norm(regions.positions - read_site(run).position, axis=1).min()
    assert {round(t.floor, 6) for t in found} == {round(1e3 * nearest, 6)}


def test_weights_of_another_head_serve_no_other(head, response, tmp_path):
    model = head_model_from_leadfield(
        head.model.leadfield,
        head.model.positions,
        head.model.neighbours,
        list(head.model.channel_names),
    )
    solver = SourceSolver(model, small("mm-net", steps=2), NetworkRecordings(16, None))
    save_solver(tmp_path / "mine.safetensors", solver, {"data": "erp", "training": {}}, {})
    estimate = learned(head, response)
    with pytest.raises(ValueError, match=r"mine.safetensors must be of the template head"):
        estimate(response.evoked, str(tmp_path / "mine.safetensors"))


def test_the_warnings_of_a_method_are_counted(run, head, response):
    noisy = replace(response, evoked=response.evoked.copy().crop(-0.1, -0.06))
    assert FEW.prepare(head, noisy.with_channels(24))(noisy.with_channels(24).evoked, 1.0).warned
    some = response.with_channels(24)
    peak = some.evoked.copy().crop(0.0, 0.001)
    assert not FEW.prepare(head, some)(peak, 1.0).warned


def test_free_orientation_needs_a_free_forward_solution(head, response):
    method = choose_methods(("sLORETA-free",))[0]
    some = response.with_channels(256)
    assert method.prepare(head, some)(some.evoked, 3.0).strength.shape == (2 * SOURCES,)
    with pytest.raises(ValueError, match="one has fixed them: leave the method out"):
        method.prepare(replace(head, forward=head.model.forward()), some)


def test_methods_are_chosen_by_name():
    assert choose_methods(()) == METHODS
    assert [m.name for m in choose_methods(("MM", "sLORETA", "MM"))] == ["MM", "sLORETA"]
    with pytest.raises(ValueError, match=r"methods are sLORETA, .*there is no 'LCMV'"):
        choose_methods(("LCMV",))


# ----------------------------------------------------------------------------------------- subsets


def test_fewer_points_are_among_more_and_cover_as_well_as_they_can():
    points = np.random.default_rng(0).normal(size=(60, 3))
    order = farthest_points(points, 60, first=5)
    assert sorted(order) == list(range(60))
    for count in (1, 7, 30):
        few = farthest_points(points, count, first=5)
        np.testing.assert_array_equal(few, order[:count])
        left = np.linalg.norm(points[:, None] - points[few], axis=2).min(axis=1).max()
        apart = np.linalg.norm(points[few][:, None] - points[few], axis=2) + 9 * np.eye(count)
        assert count == 1 or left <= apart.min()  # hence at most twice the least possible
    assert len(farthest_points(points, 99, first=0)) == 60
    assert len(set(farthest_points(np.zeros((4, 3)), 4, first=2))) == 4


def test_subsets_of_channels_are_nested_the_same_again_and_without_bad_ones(run, head, response):
    again = read_response(run, head.model, -0.05)
    names = [set(response.with_channels(n).evoked.ch_names) for n in (256, 32, 24, 16)]
    assert [len(some) for some in names] == [CHANNELS - 1, 32, 24, 16]
    assert names[0] > names[1] > names[2] > names[3]
    assert BAD not in names[0]
    assert names[2] == set(again.with_channels(24).evoked.ch_names)
    some = response.with_channels(16)
    assert some.noise.ch_names == some.evoked.ch_names
    assert some.evoked.copy().apply_proj().data.mean(axis=0) == pytest.approx(0.0, abs=1e-15)


def test_channels_cover_the_head(response):
    def places(evoked):
        return np.array([channel["loc"][:3] for channel in evoked.info["chs"]])

    def gap(some):
        every = places(response.evoked)
        return np.linalg.norm(every[:, None] - some, axis=2).min(axis=1).max()

    chosen = places(response.with_channels(16).evoked)
    assert chosen[:, 2].max() == places(response.evoked)[:, 2].max()
    assert gap(chosen) < 0.6 * gap(places(response.evoked)[:16])


def test_large_forward_solutions_are_thinned_out(run):
    few = read_head(run.forward, 30)
    np.testing.assert_array_equal(few.model.positions, read_head(run.forward, 30).model.positions)
    assert few.model.leadfield.shape == (CHANNELS, 30)
    assert few.forward["nsource"] == 30
    assert 10 <= few.left.sum() <= 20
    whole = read_head(run.forward, 2 * SOURCES)
    kept = [np.flatnonzero((whole.model.positions == p).all(axis=1)) for p in few.model.positions]
    np.testing.assert_allclose(
        few.model.leadfield, whole.model.leadfield[:, np.concatenate(kept)], rtol=1e-6
    )
    gap = np.linalg.norm(whole.model.positions[:, None] - few.model.positions, axis=2).min(axis=1)
    assert gap.max() < 0.03


def test_a_forward_solution_without_surfaces_is_refused(small_model, tmp_path):
    path = tmp_path / "volume_fwd.fif"
    mne.write_forward_solution(path, small_model.forward(), verbose="ERROR")
    with pytest.raises(ValueError, match=r"volume_fwd.fif must have sources on .*got discrete"):
        read_head(path, 100)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="holds no forward solution that can be read"):
        read_head(path, 100)


# --------------------------------------------------------------------------------------- selection

SETTINGS = PROTOCOL.settings(LINEAR)


def trial(subject, run, setting, error, channels=24):
    numbers = (error, 2 * error, 1.0, 1.0, False)
    return Trial(subject, run, "A1-2", channels, channels, "sLORETA", setting, *numbers)


def made(errors):
    """Trials of two runs of each subject; ``errors[subject]`` has one for each of two settings."""
    return [
        trial(subject, run, setting, error)
        for subject, both in errors.items()
        for run in ("run-01", "run-02")
        for setting, error in zip(SETTINGS[:2], both, strict=True)
    ]


ONLY = Protocol(channels=(24,), methods=(LINEAR,))


@pytest.mark.parametrize("own", [(0, 9), (9, 0), (1, 9), (0, 0)])
def test_a_subject_has_no_say_in_its_setting(own):
    chosen = choose_settings(made({"a": own, "b": (5, 4)}), ONLY)
    assert chosen["sLORETA", "a"] == SETTINGS[1]
    chosen = choose_settings(made({"a": own, "b": (4, 5), "c": (6, 7)}), ONLY)
    assert chosen["sLORETA", "a"] == SETTINGS[0]


def test_all_others_have_a_say():
    chosen = choose_settings(made({"a": (1, 9), "b": (9, 1), "c": (8, 2)}), ONLY)
    assert chosen == {
        ("sLORETA", "a"): SETTINGS[1],
        ("sLORETA", "b"): SETTINGS[0],
        ("sLORETA", "c"): SETTINGS[0],
    }


def test_all_runs_and_channels_of_a_subject_have_one_setting(trials):
    chosen = chosen_trials(trials, PROTOCOL)
    assert len(chosen) == len(RUNS) * 3 * 2
    settings = {(t.method, t.subject): t.setting for t in chosen}
    assert all(settings[t.method, t.subject] == t.setting for t in chosen)


def test_without_others_the_first_setting_is_taken():
    assert choose_settings(made({"a": (9, 1)}), ONLY) == {("sLORETA", "a"): SETTINGS[0]}


def test_a_summary_has_medians_and_worst_tenths():
    errors = np.arange(1.0, 21.0)
    runs = [trial("a", f"run-{k}", SETTINGS[0], float(k)) for k in errors]
    runs[0] = replace(runs[0], warned=True)
    (one,) = summaries(runs, ONLY)
    assert (one.method, one.channels, one.runs) == ("sLORETA", 24, 20)
    assert (one.median, one.worst) == (10.5, 19.5)
    assert (one.median_side, one.worst_side) == (21.0, 39.0)
    assert (one.median_floor, one.warned) == (1.0, 0.05)
    assert worst_tenth([3.0, 1.0]) == 3.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": ()}, "channels must be different numbers from 16 on"),
        ({"channels": (32, 15)}, "channels must be different numbers from 16 on"),
        ({"channels": (32, 32)}, "channels must be different numbers from 16 on"),
        ({"sources": 19}, "sources must be at least 20, got 19"),
        ({"begin": 0.002}, "noise_end must come before begin"),
        ({"noise_end": 0.0}, "noise_end must come before begin"),
    ],
)
def test_a_protocol_is_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**wrong)
