"""Many recordings in several processes: the same estimates, in order, few of them held at once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import joblib
import mne
import numpy as np
import pytest
from distributed import Client, LocalCluster

from eeg_recordings import FEW, TIMES, assert_same
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.recordings.apply import MMInverse, apply_mm
from learnmm_esi.recordings.parallel import AHEAD, mapped
from learnmm_esi.recordings.raw_parts import RawSpan
from learnmm_esi.recordings.settings import InverseSettings


@pytest.fixture
def several(epochs) -> list[mne.EvokedArray]:
    """The epochs as evoked responses, one of them with fewer channels."""
    found = list(epochs.iter_evoked(copy=True))
    for k, one in enumerate(found):
        one.comment = f"condition {k}"
    found[4].info["bads"] = ["Cz"]
    return found


def test_a_list_is_solved_one_by_one(inverse, several):
    estimates = inverse.apply(several)
    assert len(estimates) == 6
    for one, stc in zip(several, estimates, strict=True):
        expected = inverse.apply(one)
        np.testing.assert_array_equal(stc.data, expected.data)
        assert (stc.tmin, stc.tstep) == (expected.tmin, expected.tstep)
    (stc, fit), *_ = apply_mm(iter(several), inverse.model, FEW, return_result=True)
    np.testing.assert_array_equal(stc.data, estimates[0].data)
    assert fit.monotone


def test_a_list_is_asked_for_one_by_one(inverse, several):
    asked = []
    estimates = inverse.apply((asked.append(one) or one for one in several), return_generator=True)
    assert asked == []
    next(estimates)
    assert len(asked) == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_errors_say_which_recording(inverse, several, n_jobs):
    several[3].data[7, 2] = np.nan
    message = r"^recording 3 \('condition 3'\): evoked 'condition 3' has values that are not finite"
    with joblib.parallel_config("threading", n_jobs=n_jobs):
        with pytest.raises(ValueError, match=message):
            inverse.apply(several)
        several[3] = several[3].data
        with pytest.raises(TypeError, match=r"must be mne\.Evoked, recording 3 is ndarray"):
            inverse.apply(several)


def test_processes_change_nothing(model, inverse, several, epochs, raw, weights, monkeypatch):
    monkeypatch.setattr("learnmm_esi.recordings.batches.BATCH_VALUES", 2 * 60 * TIMES)
    for given, options in (
        (several, {}),
        (epochs, {}),
        (raw, {"span": RawSpan(buffer_size=TIMES)}),
    ):
        alone = inverse.apply(given, **options)
        shared = inverse.apply(given, n_jobs=2, **options)
        alone, shared = ([x] if given is raw else x for x in (alone, shared))
        assert len(shared) == len(alone)
        for one, other in zip(shared, alone, strict=True):
            assert_same(one.data, other.data)
            assert one.tmin == other.tmin
    # Their warnings are given here: weights that learned nothing start anywhere.
    poor = MMInverse(model, InverseSettings(weights=weights))
    with pytest.warns(RuntimeWarning, match=r"explains \d+ % of evoked 'condition 2'"):
        poor.apply(several[:4], n_jobs=2)


def test_other_machines_give_the_same(inverse, several, epochs, monkeypatch):
    """What joblib's backend for dask does with a cluster, here of two processes."""
    monkeypatch.setattr("learnmm_esi.recordings.batches.BATCH_VALUES", 2 * 60 * TIMES)
    quiet = {"silence_logs": "ERROR", "dashboard_address": None}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        listed, lazy = inverse.apply(several), inverse.apply(epochs, return_generator=True)
        found = [*listed, *lazy]
    alone = [*inverse.apply(several), *inverse.apply(epochs)]
    for one, other in zip(found, alone, strict=True):
        assert_same(one.data, other.data)


class Count:
    """What is called: squares, and how many calls were drawn."""

    drawn = 0

    def __call__(self, value: int) -> int:
        return value**2

    def calls(self, count: int) -> Iterator[tuple[Any, ...]]:
        for value in range(count):
            self.drawn += 1
            yield (value,)


@pytest.mark.parametrize(("n_jobs", "most"), [(1, 1), (2, 2 * AHEAD)])
def test_few_results_are_held_at_once(n_jobs, most):
    count = Count()
    with joblib.parallel_config("threading", n_jobs=n_jobs):
        results = mapped(count, count.calls(40), None)
    for value in range(40):
        assert next(results) == value**2
        assert count.drawn - value <= most
    assert list(results) == []


def test_what_travels_is_small(tmp_path, model, evoked):
    """Lead field, patches of four widths and the like: surfaces and distances stay."""
    inverse = MMInverse(head_model_from_forward(model.forward(), distances=True), FEW)
    expected = inverse.apply(evoked).data
    sent = pickle.dumps(inverse._engine)
    assert len(sent) < 12 * inverse.model.leadfield.nbytes < 0.3 * len(pickle.dumps(inverse))
    again, _ = pickle.loads(sent).solve_evoked(evoked, None)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize(
    ("n_jobs", "error", "message"),
    [
        ("cuda", TypeError, "n_jobs must be an int or None, got 'cuda'"),
        (True, TypeError, "n_jobs must be an int or None, got True"),
        (0, ValueError, "n_jobs must be a number of processes, or -1 .*, got 0"),
    ],
)
def test_numbers_of_processes_that_cannot_be_are_named(inverse, epochs, n_jobs, error, message):
    with pytest.raises(error, match=message):
        inverse.apply(epochs, n_jobs=n_jobs)
