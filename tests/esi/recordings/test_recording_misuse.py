"""What users ran into: bad spans, empty epochs, other options, weights used elsewhere."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import multiprocessing
import pickle
import warnings

import mne
import numpy as np
import pytest

from learnmm_esi.inverse.energy import LARGEST, SourceEnergy
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.settings import MethodSettings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings.apply import MMInverse, apply_mm
from learnmm_esi.recordings.mne_options import REASONS
from learnmm_esi.recordings.raw_parts import RawSpan
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings
from learnmm_esi.simulation.erp import ERPSimulator

SFREQ, TIMES, STEPS = 512.0, 16, 2
FEW = InverseSettings(max_iter=STEPS)


@pytest.fixture(scope="module")
def inverse(coarse_model):
    return MMInverse(coarse_model, FEW)


@pytest.fixture(scope="module")
def sensors(coarse_model):
    simulator = ERPSimulator(coarse_model, seed=5, times=TIMES)
    return simulator.batch(range(6)).sensors.astype(np.float64)


@pytest.fixture
def raw(coarse_model, sensors):
    return mne.io.RawArray(np.hstack(list(sensors)), coarse_model.info(SFREQ), verbose="ERROR")


@pytest.fixture
def evoked(coarse_model, sensors):
    return mne.EvokedArray(sensors[0].copy(), coarse_model.info(SFREQ), comment="left")


@pytest.fixture(scope="module")
def weights(coarse_model, tmp_path_factory):
    """Weights of a method that is not trained, but complete."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    settings = MethodSettings("mm-net", steps=2, hidden=4, width=4, times=TIMES, sfreq=SFREQ)
    save_solver(path, SourceSolver(coarse_model, settings), {"data": "erp", "training": {}}, {})
    return path


# ------------------------------------------------------------------------------- raw recordings


@pytest.mark.parametrize("description", ["BAD_blink", "bad", "Bad segment"])
def test_samples_called_bad_are_left_out(inverse, raw, sensors, description):
    bad = slice(2 * TIMES, 3 * TIMES)
    raw.set_annotations(mne.Annotations(2 * TIMES / SFREQ, TIMES / SFREQ, description))
    raw._data[3, bad] = np.nan
    stc, fits = inverse.apply(raw, span=RawSpan(buffer_size=TIMES), return_result=True)
    assert len(fits) == 5
    assert stc.shape == (60, 6 * TIMES)
    good = np.ones(6 * TIMES, dtype=bool)
    good[bad] = False
    assert np.isnan(stc.data[:, ~good]).all()
    assert np.isfinite(stc.data[:, good]).all()
    # The rest is what it is without the bad samples.
    single = inverse.apply(mne.EvokedArray(sensors[4], raw.info)).data
    scale = np.abs(single).max()
    np.testing.assert_allclose(stc.data[:, 4 * TIMES : 5 * TIMES], single, atol=1e-4 * scale)
    with pytest.raises(ValueError, match="not finite"):
        inverse.apply(raw, span=RawSpan(reject_by_annotation=False))


def test_annotations_are_counted_as_mne_counts_them(inverse, raw):
    """With a measurement date, a first sample, a crop and spans that overlap or leave the data."""
    raw = mne.io.RawArray(raw.get_data(), raw.info, first_samp=1000, verbose="ERROR")
    raw.set_meas_date(1e9)
    onsets = raw.first_time + np.array([0.01, 0.02, 0.1, 0.17])
    spans = mne.Annotations(
        onsets, 0.02, ["bad a", "BAD b", "blink", "bad c"], raw.info["meas_date"]
    )
    raw.set_annotations(spans)
    raw.crop(tmin=4 / SFREQ)
    kept = raw.get_data(reject_by_annotation="omit", verbose="ERROR").shape[1]
    stc = inverse.apply(raw)
    assert np.isfinite(stc.data).all(axis=0).sum() == kept < raw.n_times
    part = inverse.apply(raw, span=RawSpan(start=8, stop=40))
    kept = raw.get_data(start=8, stop=40, reject_by_annotation="omit", verbose="ERROR").shape[1]
    assert np.isfinite(part.data).all(axis=0).sum() == kept < 32


def test_a_raw_that_is_bad_throughout_is_refused(inverse, raw):
    raw.set_annotations(mne.Annotations(0.0, 10.0, "BAD"))
    with pytest.raises(ValueError, match="annotations mark all samples from 4 to 95 as bad"):
        inverse.apply(raw, span=RawSpan(start=4))


def test_values_that_are_not_finite_still_stop_where_nobody_called_them_bad(inverse, raw):
    raw.set_annotations(mne.Annotations(0.0, 0.01, "BAD"))
    raw._data[3, 50] = np.inf
    with pytest.raises(ValueError, match=r"sample \d+ to \d+ has values .* not finite in AF9"):
        inverse.apply(raw)


@pytest.mark.parametrize("name", ["start", "stop", "buffer_size"])
@pytest.mark.parametrize("value", [0.1, 1.0, np.float64(16.0), "3", np.nan])
def test_seconds_are_no_samples(name, value):
    with pytest.raises(TypeError, match=rf"{name} counts samples, .*raw.time_as_index\("):
        RawSpan(**{name: value})


def test_any_integer_is_a_sample(inverse, raw):
    first = raw.time_as_index(0.05)[0]
    stc = inverse.apply(raw, span=RawSpan(start=first, stop=np.int32(first + 8)))
    assert stc.shape == (60, 8)
    assert stc.tmin == raw.times[first]
    assert inverse.apply(raw, span=RawSpan(start=-8)).shape == (60, 8)


# --------------------------------------------------------------------------------------- epochs


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("generator", [True, False])
def test_epochs_that_were_all_rejected_are_told(inverse, raw, preload, generator):
    events = np.array([[k * TIMES, 0, 1] for k in range(5)])
    epochs = mne.Epochs(
        raw, events, tmin=0, tmax=(TIMES - 1) / SFREQ, baseline=None, reject={"eeg": 1e-12},
        preload=preload, verbose="ERROR",
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match=r"no epoch is left .*: all 5 were rejected: A"):
        assert list(inverse.apply(epochs, return_generator=generator)) == []


# -------------------------------------------------------------------------------------- options


def test_each_option_has_one_home(coarse_model):
    """Every field of a group is told where it belongs, and no reason is for what there is."""
    groups = (InverseSettings, SensorSettings, RawSpan)
    names = [field.name for group in groups for field in dataclasses.fields(group)]
    for name in names:
        group = next(one for one in groups if name in one.__dataclass_fields__)
        assert f"{group.__name__}({name}=...)" in REASONS[name]
    assert not set(REASONS) & set(inspect.signature(apply_mm).parameters)


@pytest.mark.parametrize("name", sorted(REASONS))
def test_options_of_mne_are_refused_with_the_reason(coarse_model, inverse, evoked, name):
    for function, call in (
        ("apply_mm", lambda: apply_mm(evoked, coarse_model, **{name: 1})),
        ("MMInverse", lambda: MMInverse(coarse_model, **{name: 1})),
        ("apply", lambda: inverse.apply(evoked, **{name: 1})),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"{function}() has no option {name}: {REASONS[name]}"


def test_every_option_of_mnes_inverses_is_known_here():
    inverses = mne.minimum_norm
    functions = (
        inverses.apply_inverse, inverses.apply_inverse_epochs, inverses.apply_inverse_raw,
        inverses.make_inverse_operator,
    )  # fmt: skip
    ours = set(inspect.signature(apply_mm).parameters) | {"evoked", "epochs", "raw", "info"}
    ours |= {"forward", "inverse_operator"}
    theirs = {name for one in functions for name in inspect.signature(one).parameters}
    assert theirs - ours <= set(REASONS)


def test_other_words_are_python_errors(coarse_model, evoked):
    with pytest.raises(TypeError, match=r"apply_mm\(\) got an unexpected .* 'wieght'"):
        apply_mm(evoked, coarse_model, wieght=2.0)
    with pytest.raises(TypeError, match=r"settings must be InverseSettings\(...\), got 'mm-net"):
        apply_mm(evoked, coarse_model, "mm-net-erp")
    with pytest.raises(TypeError, match=r"sensors must be SensorSettings\(...\), got 'cov.fif'"):
        MMInverse(coarse_model, sensors="cov.fif")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transfer": True}, "transfer=True says how to use weights, and there are none"),
        ({"weight": -1.0}, "weight and diffusion must be positive, got -1.0, 10.0"),
        ({"diffusion": np.nan}, "weight and diffusion must be positive, got 1.0, nan"),
        (
            {"weights": "w", "weight": 2.0},
            "a trained method has its own, got 2.0, 10.0 and weights",
        ),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        InverseSettings(**settings)


# -------------------------------------------------------------------------- models out of reach


class Huge:
    """A head model of which only the size is asked."""

    def __init__(self, sources):
        self.leadfield = np.broadcast_to(np.float64(1.0), (90, sources))


def test_too_many_sources_are_refused_before_memory_is_taken(coarse_model):
    with pytest.raises(ValueError, match=r"at most 10000 sources, got 20484: .* about 31 GiB"):
        SourceEnergy(Huge(20484))
    many = dataclasses.replace(coarse_model, positions=np.zeros((LARGEST + 1, 3)))
    with pytest.raises(ValueError, match="spacing='oct5'"):
        MMInverse(many)


def test_sources_that_no_sensor_sees_are_named_early(coarse_model, evoked):
    gain = coarse_model.leadfield.copy()
    gain[:, [3, 41]] = 0.0
    blind = dataclasses.replace(coarse_model, leadfield=gain)
    message = r"2 of 60 sources that no sensor sees .*: number 3, 41 \(from 0\)"
    with pytest.raises(ValueError, match=message):
        apply_mm(evoked, blind)
    with pytest.raises(ValueError, match=message):
        SourceSolver(blind, MethodSettings(hidden=4, width=4))
    with pytest.raises(ValueError, match="60 of 60 sources"):
        SourceEnergy(dataclasses.replace(coarse_model, leadfield=np.ones((90, 60))))
    gain[:, 3] = 7e3  # the same at every sensor: nothing after average reference
    with pytest.raises(ValueError, match=message):
        SourceEnergy(blind)


# -------------------------------------------------------------------------------------- weights


def test_an_inverse_is_pickled_and_copied(coarse_model, evoked, weights):
    for inverse in (
        MMInverse(coarse_model, FEW),
        MMInverse(coarse_model, InverseSettings(weights=weights)),
    ):
        expected = inverse.apply(evoked).data
        for again in (pickle.loads(pickle.dumps(inverse)), copy.deepcopy(inverse)):
            np.testing.assert_array_equal(again.apply(evoked).data, expected)


def test_an_inverse_serves_other_processes(coarse_model, evoked, weights):
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (stc,) = pool.map(inverse.apply, [evoked])
    expected = inverse.apply(evoked).data
    np.testing.assert_allclose(stc.data, expected, atol=1e-4 * np.abs(expected).max())


def test_recordings_of_another_length_are_told(coarse_model, sensors, weights):
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    info = coarse_model.info(SFREQ)
    for times, told in ((7, True), (8, False), (32, False), (33, True)):
        evoked = mne.EvokedArray(np.hstack(list(sensors))[:, :times], info)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inverse.apply(evoked)
        found = [str(one.message) for one in caught if "were trained on" in str(one.message)]
        found = [one for one in found if "of 16 samples (31 ms), this one has" in one]
        assert bool(found) == told, times
    epochs = mne.EpochsArray(np.concatenate([sensors] * 4, axis=2), info, verbose="ERROR")
    with pytest.warns(RuntimeWarning, match="of 16 samples .*, this one has 64"):
        inverse.apply(epochs)


def test_parts_of_a_raw_are_as_long_as_those_of_the_training(coarse_model, raw, weights):
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trained on recordings of.*")
        with pytest.warns(RuntimeWarning, match=r"\(and little of 5 others\)"):  # once for all
            _, fits = inverse.apply(raw, return_result=True)
    assert len(fits) == 6


def test_short_rests_between_bad_samples_are_told(coarse_model, raw, weights):
    raw.set_annotations(mne.Annotations([3 / SFREQ, 40 / SFREQ], 10 / SFREQ, "BAD"))
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with pytest.warns(RuntimeWarning, match="of 16 samples .*, this one has 3"):
        inverse.apply(raw)


def test_a_method_of_one_length_says_so(coarse_model, raw, evoked, tmp_path):
    settings = MethodSettings("modgrad", steps=2, hidden=4, width=4, times=TIMES, sfreq=SFREQ)
    path = tmp_path / "fixed.safetensors"
    save_solver(path, SourceSolver(coarse_model, settings), {"data": "erp", "training": {}}, {})
    inverse = MMInverse(coarse_model, InverseSettings(weights=path))
    assert inverse.apply(evoked).shape == (60, TIMES)
    with pytest.raises(ValueError, match=r"of 16 samples \(31 ms\) alone, this one has 10"):
        inverse.apply(evoked.copy().crop(0, 9 / SFREQ))


def test_a_badly_explained_recording_is_told(coarse_model, evoked, weights):
    """Weights that learned nothing start anywhere."""
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with pytest.warns(RuntimeWarning, match=r"explains \d+ % of evoked 'left': do not trust it"):
        _, fit = inverse.apply(evoked, return_result=True)
    assert fit.explained < 0.5


def test_weights_transfer_when_asked_to(coarse_model, evoked, weights):
    other = dataclasses.replace(
        coarse_model, leadfield=coarse_model.leadfield * (1 + 0.1 * np.sin(np.arange(60)))
    )
    with pytest.raises(ValueError, match="lead field"):
        MMInverse(other, InverseSettings(weights=weights))
    stc = apply_mm(evoked, other, InverseSettings(weights=weights, transfer=True))
    assert stc.shape == (60, TIMES)
