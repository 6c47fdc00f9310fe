"""Bare lead fields, in memory or in files: taken when they can be, refused by name when not."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from scipy import sparse

from learnmm_esi.head.from_file import read_head_model
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.head.report import report

SENSORS, SOURCES = 7, 20


def ring(n):
    return np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), -1, axis=0)


def arguments(**changes):
    rng = np.random.default_rng(0)
    given = {
        "leadfield": 100 * rng.normal(size=(SENSORS, SOURCES)),
        "positions": 0.05 * rng.normal(size=(SOURCES, 3)),
        "neighbours": ring(SOURCES),
        "channel_names": [f"EEG {i}" for i in range(SENSORS)],
    }
    return {**given, **changes}


@pytest.mark.parametrize("graph", [ring(SOURCES), sparse.csr_matrix(ring(SOURCES))])
def test_a_bare_lead_field_is_referenced_and_kept(graph):
    given = arguments(neighbours=graph)
    model = head_model_from_leadfield(**given)
    expected = given["leadfield"] - given["leadfield"].mean(axis=0)
    np.testing.assert_allclose(model.leadfield, expected, atol=1e-12)
    np.testing.assert_array_equal(model.neighbours.toarray(), ring(SOURCES) > 0)
    assert model.neighbours.dtype == bool
    assert model.info(100.0)["ch_names"] == given["channel_names"]
    assert "6 of 7" in report(model)


def test_the_reference_of_a_bare_lead_field_does_not_matter():
    given = arguments()
    mastoid = {**given, "leadfield": given["leadfield"] - given["leadfield"][3]}
    one, other = head_model_from_leadfield(**given), head_model_from_leadfield(**mastoid)
    np.testing.assert_allclose(one.leadfield, other.leadfield, atol=1e-12)


def test_a_bare_lead_field_says_what_it_lacks():
    model = head_model_from_leadfield(**arguments())
    with pytest.raises(ValueError, match="no regions on fsaverage5"):
        model.expand(np.zeros(SOURCES))
    with pytest.raises(ValueError, match="bare lead field has no sensor positions"):
        model.forward()


def with_nan(array):
    array = np.array(array)
    array[0, 0] = np.nan
    return array


def lopsided():
    graph = ring(SOURCES)
    graph[0, 5] = 1
    return graph


GIVEN = arguments()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leadfield": np.zeros(5)}, r"shape \(sensors, sources\), got \(5,\)"),
        ({"leadfield": with_nan(GIVEN["leadfield"])}, "leadfield must be finite, got 1 other"),
        ({"leadfield": 1e-3 * GIVEN["leadfield"]}, r"must be in V/\(A m\), .* got 0.1"),
        ({"leadfield": 1e6 * GIVEN["leadfield"]}, r"must be in V/\(A m\), .* got 1.*e\+08"),
        ({"leadfield": GIVEN["leadfield"][[0, 1, 2, 3, 4, 5, 5]]}, "must have rank 6 .*, got 5"),
        ({"positions": np.zeros((3, SOURCES))}, r"positions must have shape \(20, 3\), got"),
        ({"positions": with_nan(GIVEN["positions"])}, "positions must be finite"),
        ({"positions": 1e3 * GIVEN["positions"]}, "positions must be in metres, .* millimetres"),
        ({"neighbours": ring(19)}, r"neighbours must have shape \(20, 20\), got \(19, 19\)"),
        ({"neighbours": lopsided()}, "neighbours must be symmetric"),
        ({"neighbours": ring(SOURCES) + np.eye(SOURCES)}, "zero diagonal"),
        ({"channel_names": ["Cz"]}, "must name 7 sensors, got 1"),
        ({"channel_names": ["Cz", "Cz", *"abcde"]}, "must differ, got Cz more than once"),
        ({"channel_names": range(7)}, "must be strings, got 0"),
        ({"normals": np.zeros((2, 3))}, "normals must have shape"),
        ({"distances": np.zeros((2, 2))}, "distances must have shape"),
        ({"distances": -ring(SOURCES)}, "non-negative"),
        ({"distances": lopsided()}, "distances must be symmetric"),
    ],
)
def test_what_cannot_be_a_lead_field_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        head_model_from_leadfield(**arguments(**changes))


def test_sensors_at_one_place_are_named():
    gain = GIVEN["leadfield"].copy()
    gain[5], gain[6] = gain[0], gain[2]
    message = r"rank 6 .*, got 4: .* \(EEG 0 = EEG 5, EEG 2 = EEG 6\): leave out one of each pair"
    with pytest.raises(ValueError, match=message):
        head_model_from_leadfield(**arguments(leadfield=gain))
    gain = GIVEN["leadfield"].copy()
    gain[6] = gain[0] + gain[1] - gain[2]  # a combination repeats none of them
    with pytest.raises(ValueError, match=r"repeat others or are combinations of them$"):
        head_model_from_leadfield(**arguments(leadfield=gain))


@pytest.mark.parametrize("value", [0.0, 250.0])
def test_sources_that_no_sensor_sees_are_named(value):
    gain = GIVEN["leadfield"].copy()
    gain[:, [4, 17]] = value
    message = r"leadfield has 2 of 20 sources that no sensor sees .*: number 4, 17 \(from 0\)"
    with pytest.raises(ValueError, match=message):
        head_model_from_leadfield(**arguments(leadfield=gain))


def test_a_bare_lead_field_comes_from_a_file(tmp_path):
    path = tmp_path / "mine.npz"
    distances = np.abs(np.subtract.outer(np.arange(SOURCES), np.arange(SOURCES))).astype(float)
    np.savez(path, **GIVEN, distances=distances)
    for given in (path, str(path)):
        read = read_head_model(given)
        expected = head_model_from_leadfield(**GIVEN, distances=distances)
        np.testing.assert_array_equal(read.leadfield, expected.leadfield)
        np.testing.assert_array_equal(read.neighbours.toarray(), expected.neighbours.toarray())
        np.testing.assert_array_equal(read.distances, distances)
        assert read.channel_names == tuple(GIVEN["channel_names"])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda p: np.savez(p, **{k: v for k, v in GIVEN.items() if k != "positions"}),
            "lacks pos",
        ),
        (lambda p: np.savez(p, **GIVEN, gain=1), "lacks none of them, and has gain besides"),
        (lambda p: p.write_text("no arrays"), "is no .npz file of plain arrays"),
        (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(50)), "is no .npz file of plain arrays"),
        (lambda p: np.savez(p, **{**GIVEN, "neighbours": np.array([{}])}), "of plain arrays"),
        (lambda p: np.savez(p, **{**GIVEN, "leadfield": np.zeros(3)}), r"shape \(sensors, sources"),
    ],
)
def test_other_files_are_no_bare_lead_fields(tmp_path, write, message):
    path = tmp_path / "mine.npz"
    write(path)
    with pytest.raises(ValueError, match=message):
        read_head_model(path)


def shorter_than_it_says(path):
    """Write arrays, one of which says to be a thousand times larger."""
    with zipfile.ZipFile(path, "w") as file:
        for name, value in GIVEN.items():
            content = io.BytesIO()
            np.save(content, value)
            text = content.getvalue()
            if name == "neighbours":
                text = text.replace(b"(20, 20), }   ", b"(20, 20000), }")
            file.writestr(f"{name}.npy", text)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: np.savez_compressed(p, **GIVEN, more=np.zeros(10**6)), "has more besides"),
        (
            lambda p: np.savez_compressed(p, **{**GIVEN, "leadfield": np.zeros((9, 10**5))}),
            "times smaller",
        ),
        (
            lambda p: np.savez_compressed(p, **{**GIVEN, "positions": np.zeros((10**6, 3))}),
            r"positions of shape \(1000000, 3\)",
        ),
        (lambda p: np.savez(p, **{**GIVEN, "leadfield": np.ones((2, 40_000))}), "at most 32768"),
        (shorter_than_it_says, "is shorter than its header says"),
    ],
)
def test_nothing_is_read_of_a_file_that_claims_what_does_not_fit(
    tmp_path, monkeypatch, write, message
):
    path = tmp_path / "mine.npz"
    write(path)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=message):
        read_head_model(path)


def test_a_model_that_cannot_be_a_forward_says_how_to_train_on_it():
    with pytest.raises(ValueError, match=r"np.savez its arrays to a file, which train --forward"):
        head_model_from_leadfield(**GIVEN).forward()
