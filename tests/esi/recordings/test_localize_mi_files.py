"""What is read of a folder, and what is said where something lacks or does not fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import mne
import numpy as np
import pytest

from eeg_stimulation import EPOCHS, RUNS, SFREQ, START, TIMES, contacts, eeg, table, write_folder
from learnmm_esi.recordings.localize_mi.files import BidsFile, find_runs
from learnmm_esi.recordings.localize_mi.methods import choose_methods
from learnmm_esi.recordings.localize_mi.tables import read_json, read_table
from learnmm_esi.recordings.localize_mi.trials import Protocol, run_trials

RUN = RUNS[0]
PROTOCOL = Protocol(channels=(16,), methods=choose_methods(("sLORETA",)))


def tried(folder):
    found = run_trials(find_runs(folder), PROTOCOL, lambda run: False)
    return [trial for _, trials in found for trial in trials]


@pytest.fixture
def folder(stimulation_forward, tmp_path):
    """One run, to be changed."""
    return write_folder(tmp_path, stimulation_forward, [RUN])


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def forward_of(folder: Path) -> Path:
    return folder / "derivatives" / "sourcemodelling" / "sub-01" / "fwd" / "sub-01_fwd.fif"


# ------------------------------------------------------------------------------------------- found


def test_names_are_read():
    file = BidsFile.read(Path("sub-01_ses-2_task-x_run-03_space-T1w_electrodes.tsv"))
    entities = {"sub": "01", "ses": "2", "task": "x", "run": "03", "space": "T1w"}
    assert (file.entities, file.kind) == (entities, ("electrodes", ".tsv"))
    assert BidsFile.read(Path("sub-01-fwd.fif.gz")).kind == ("fwd", ".fif")
    assert BidsFile.read(Path("sub-01_run-1-epo.fif")).entities == {"sub": "01", "run": "1"}
    assert BidsFile.read(Path("sub-01_space-mod-T1w_maskface_x.tsv")).entities["space"] == "mod-T1w"
    assert BidsFile.read(Path("sub-01_task-x_epochs.npy")).label == "run"
    assert file.label == "ses-2_run-03_space-T1w"


def test_every_run_is_found_with_its_files(stimulation_folder):
    runs = find_runs(stimulation_folder)
    assert [run.name for run in runs] == [f"{run.subject} {run.run}" for run in RUNS]
    for run, made in zip(runs, RUNS, strict=True):
        assert run.epochs == eeg(stimulation_folder, made, "epochs.npy")
        assert run.channels == eeg(stimulation_folder, made, "channels.tsv")
        assert run.metadata == eeg(stimulation_folder, made, "epochs.json")
        assert run.contacts == contacts(stimulation_folder, made.subject)
        assert run.units == contacts(stimulation_folder, made.subject, "coordsystem.json")
        assert run.forward.name == f"{made.subject}_fwd.fif"
    assert find_runs(stimulation_folder / "derivatives") == runs


def test_the_file_of_the_run_comes_before_that_of_the_subject(folder):
    own = eeg(folder, RUN, "fwd.fif")
    own.write_bytes(forward_of(folder).read_bytes())
    assert find_runs(folder)[0].forward == own


def test_hidden_folders_are_left_alone(folder):
    hidden = folder / ".git" / "annex" / "sub-01_task-seegstim_run-09_epochs.npy"
    hidden.parent.mkdir(parents=True)
    hidden.write_bytes(b"")
    assert len(find_runs(folder)) == 1


@pytest.mark.parametrize("name", ["epo.fif", "epochs.fif", "-epo.fif"])
def test_epochs_may_be_those_of_mne(folder, name):
    expected = tried(folder)
    rows = read_table(eeg(folder, RUN, "channels.tsv"), ())
    data = np.load(eeg(folder, RUN, "epochs.npy"))
    info = mne.create_info([row["name"] for row in rows], SFREQ, "eeg")
    info["bads"] = [row["name"] for row in rows if row["status"] == "bad"]
    data[:, [row["status"] == "bad" for row in rows]] = 0.0  # a file holds no NaN
    epochs = mne.EpochsArray(data, info, tmin=START, verbose="ERROR")
    for ending in ("epochs.npy", "channels.tsv", "epochs.tsv"):
        eeg(folder, RUN, ending).unlink()
    path = eeg(folder, RUN, name)
    epochs.save(path.with_name(path.name.replace("_-", "-")), verbose="ERROR")
    for one, other in zip(tried(folder), expected, strict=True):
        assert (one.setting, one.error) == (other.setting, other.error)


def test_epochs_that_were_all_rejected_are_no_epochs(folder):
    names = [row["name"] for row in read_table(eeg(folder, RUN, "channels.tsv"), ())]
    data = 1e-6 * np.ones((1, len(names), TIMES))
    epochs = mne.EpochsArray(data, mne.create_info(names, SFREQ, "eeg"), verbose="ERROR")
    eeg(folder, RUN, "epochs.npy").unlink()
    epochs.drop([0], verbose="ERROR").save(eeg(folder, RUN, "epo.fif"), verbose="ERROR")
    with pytest.raises(ValueError, match=r"must have epochs that begin .*; got 0 from"):
        tried(folder)


@pytest.mark.parametrize(
    ("description", "table_says"),
    [
        ("Q'8-Q'9", None),
        ("Q’8-9 5mA", None),
        (None, "Q'8-9 1mA"),
        ("site A1-2", "Q'8-9"),
        (7, "Q'8 - 9"),
    ],
)
def test_the_pair_is_taken_from_where_it_is_named(folder, description, table_says):
    eeg(folder, RUN, "epochs.json").write_text(json.dumps({"Description": description}))
    columns = {"zero_time": [-START], "trial_type": [table_says]}
    eeg(folder, RUN, "epochs.tsv").write_text(table(columns))
    assert {trial.contacts for trial in tried(folder)} == {"Q'8-9"}


def test_the_pair_may_be_that_of_the_events(folder):
    eeg(folder, RUN, "epochs.json").unlink()
    eeg(folder, RUN, "epochs.tsv").write_text(table({"zero_time": [-START]}))
    columns = {"onset": [0.0], "electrical_stimulation_site": ["Q'8-9"]}
    eeg(folder, RUN, "events.tsv").write_text(table(columns))
    assert {trial.contacts for trial in tried(folder)} == {"Q'8-9"}


def test_units_and_rate_may_be_said_otherwise(folder):
    expected = tried(folder)
    path = eeg(folder, RUN, "channels.tsv")
    edited(path, "\tV\t", "\tµV\t")
    edited(path, f"\t{SFREQ:.0f}\t", "\tn/a\t")
    edited(eeg(folder, RUN, "epochs.json"), "{", f'{{"SamplingFrequency": {SFREQ}, ')
    data = eeg(folder, RUN, "epochs.npy")
    np.save(data, 1e6 * np.load(data))
    for one, other in zip(tried(folder), expected, strict=True):
        assert (one.setting, one.error) == (other.setting, other.error)


def test_the_mean_before_the_stimulus_is_subtracted(folder):
    expected = tried(folder)
    path = eeg(folder, RUN, "epochs.npy")
    data = np.load(path)
    np.save(path, data + 1e-4 * np.arange(data.shape[1])[:, None])
    for one, other in zip(tried(folder), expected, strict=True):
        assert (one.setting, one.error) == (other.setting, other.error)


def test_a_column_says_the_hemisphere(folder):
    path = contacts(folder, "sub-01")
    rows = [line.split("\t") for line in path.read_text().replace("Q'", "Q").splitlines()]
    path.write_text(
        "\n".join("\t".join([*row, "hemisphere" if k == 0 else "L"]) for k, row in enumerate(rows))
    )
    for ending in ("epochs.json", "epochs.tsv"):
        edited(eeg(folder, RUN, ending), "Q'", "Q")
    assert all(trial.error_side == trial.floor_side == trial.floor for trial in tried(folder))


# ------------------------------------------------------------------------------------------ errors


def test_a_folder_must_be_one_and_hold_epochs(folder, tmp_path):
    with pytest.raises(NotADirectoryError, match="is no folder: expected that of the Localize-MI"):
        find_runs(folder / "nowhere")
    eeg(folder, RUN, "epochs.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no epochs: expected files sub-\*_epochs.npy"):
        find_runs(folder)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (forward_of, "sub-01 run-01: forward solution sub-01_fwd.fif or sub-01-fwd.fif"),
        (
            partial(contacts, subject="sub-01"),
            r"contacts ieeg/sub-01_\*_space-surface_electrodes.tsv \(there are other spaces: MNI",
        ),
        (
            partial(eeg, run=RUN, ending="channels.tsv"),
            "table of channels sub-01_task-seegstim_run-01_channels.tsv",
        ),
        (partial(eeg, run=RUN, ending="epochs.tsv"), "table of epochs sub-01_.*run-01_epochs.tsv"),
    ],
)
def test_files_that_lack_are_named(folder, path, message):
    path(folder).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks 1 files: .*{message}"):
        find_runs(folder)


def test_files_that_were_not_fetched_are_named(folder):
    path = eeg(folder, RUN, "epochs.npy")
    path.unlink()
    path.symlink_to(folder / ".git" / "annex" / "objects" / "xyz")
    with pytest.raises(FileNotFoundError, match=r"epochs.npy \(a link to nothing: fetch it with"):
        find_runs(folder)


def test_one_of_several_files_is_to_be_left(folder):
    other = forward_of(folder).with_name("sub-01-fwd.fif")
    other.write_bytes(forward_of(folder).read_bytes())
    with pytest.raises(ValueError, match="several files for the forward solution of one run, deri"):
        find_runs(folder)


def changed_array(change):
    """Write another array of epochs."""

    def apply(folder):
        path = eeg(folder, RUN, "epochs.npy")
        np.save(path, change(np.load(path)))

    return apply


def with_value(value, times=slice(None)):
    def change(data):
        data[:, 3, times] = value
        return data

    return changed_array(change)


def changed_text(ending, old, new):
    return lambda folder: edited(eeg(folder, RUN, ending), old, new)


def changed_contacts(old, new, ending="electrodes.tsv"):
    return lambda folder: edited(contacts(folder, "sub-01", ending), old, new)


def moved_contacts(axis, shift):
    def apply(folder):
        path = contacts(folder, "sub-01")
        rows = read_table(path, ())
        columns = {one: [float(row[one]) + shift * (one == axis) for row in rows] for one in "xyz"}
        path.write_text(table({"name": [row["name"] for row in rows], **columns}))

    return apply


WRONG = {
    "a flat channel": (with_value(0.0), "has channels that are flat before the stimulus"),
    "no number": (with_value(np.nan), "values that are not finite in E4: call the channels bad"),
    "one channel less": (changed_array(lambda d: d[:, 1:]), "has 47 channels, .* has 48"),
    "an average": (changed_array(lambda d: d[0]), r"expected numbers \(epochs, channels, times\)"),
    "whole numbers": (changed_array(lambda d: np.ones(d.shape, int)), "expected numbers"),
    "no epochs": (changed_array(lambda d: d[:0]), r"expected numbers .*got \(0, 48, 221\)"),
    "another file": (
        lambda folder: eeg(folder, RUN, "epochs.npy").write_bytes(b"\x93NUMPY"),
        "holds no array of epochs that can be read",
    ),
    "objects": (
        lambda folder: np.save(eeg(folder, RUN, "epochs.npy"), np.array([None]), allow_pickle=True),
        "holds no array of epochs that can be read",
    ),
    "no time before": (
        changed_text("epochs.tsv", "0.1\t", "0.01\t"),
        "must have epochs that begin before -50 ms, for the noise; got 4 from -10 ms on",
    ),
    "no time after": (
        changed_array(lambda d: d[..., : TIMES // 2]),
        "must have samples from -2 to 2 ms; it has -100 to -45.5 ms",
    ),
    "no zero": (changed_text("epochs.tsv", "0.1\t", "n/a\t"), "zero_time must be a finite number"),
    "no column": (changed_text("epochs.tsv", "zero_time", "zero"), "the columns zero_time; it has"),
    "a unit": (changed_text("channels.tsv", "\tV\t", "\tA\t"), "units must be among V, .*got 'A'"),
    "no rate": (
        changed_text("channels.tsv", f"\t{SFREQ:.0f}\t", "\t\t"),
        "the sampling frequency must be a finite number, got 'none'",
    ),
    "two rates": (
        changed_text("channels.tsv", "V\t2000\tbad", "V\t1000\tbad"),
        "expected one sampling frequency",
    ),
    "another name": (changed_text("channels.tsv", "E9\t", "Z9\t"), "has no sensor named Z9"),
    "no pair": (
        lambda folder: [
            changed_text("epochs.json", "Q'8-9", "Q'")(folder),
            changed_text("epochs.tsv", "Q'8-9", "Q'")(folder),
        ],
        "nothing says which contacts were stimulated: expected a pair as Q'8-9",
    ),
    "no JSON": (changed_text("epochs.json", "{", "["), "epochs.json is no JSON"),
    "an unknown contact": (
        changed_contacts("Q'8", "Q'7"),
        "has no contacts Q'8 and Q'9; it has Q'7, Q'9",
    ),
    "no place": (changed_contacts("Q'8\t", "Q'8\tn/a"), "Q'8 must be a finite number, got 'n/a"),
    "an unknown unit": (
        changed_contacts('"m"', '"feet"', "coordsystem.json"),
        "iEEGCoordinateUnits must be one of m, cm, mm, got 'feet'",
    ),
    "millimetres": (
        changed_contacts('"m"', '"mm"', "coordsystem.json"),
        "lie 0.0035 mm apart, 1 to 30 mm are expected: their unit is another than",
    ),
    "another origin": (
        moved_contacts("y", 0.3),
        "from the nearest source of sub-01_fwd.fif, at most 50 mm are expected",
    ),
    "the other side": (
        moved_contacts("x", 0.12),
        "or L says left: give the table a column hemisphere",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_said(folder, name):
    change, message = WRONG[name]
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        tried(folder)
    assert re.search("sub-01|head model", str(caught.value))


def test_tables_are_text_with_rows(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"name\tx\n\xff\xfe\t1\n")
    with pytest.raises(ValueError, match="is no table of tab-separated text"):
        read_table(path, ("name",))
    path.write_text("name\tx\n")
    with pytest.raises(ValueError, match="must have rows and the columns name; it has 0 rows"):
        read_table(path, ("name",))
    path.write_text("[1]")
    with pytest.raises(ValueError, match="must hold an object of JSON, got list"):
        read_json(path)


def test_a_subject_may_have_more_runs_than_one_head_is_read_for(stimulation_folder, monkeypatch):
    """Heads are read once a subject, and not at all for what is done."""
    runs = find_runs(stimulation_folder)
    seen = [run for run, _ in run_trials(runs, PROTOCOL, lambda run: run.subject != "sub-01")]
    assert seen == runs[:2]
    damaged = [replace(run, forward=Path("nothing")) for run in runs]
    assert list(run_trials(damaged, PROTOCOL, lambda run: True)) == []


assert EPOCHS == 4  # as messages above have it
