"""The cache of the head model: same bytes every time, and no damaged file is trusted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from learnmm_esi.cache import (
    CorruptCacheError,
    cache_directory,
    cache_key,
    read_arrays,
    write_arrays,
)
from learnmm_esi.head import fsaverage
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModelSettings

SMALL = HeadModelSettings(sources=60, ico=2)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The bytes of a small model's file, and its name."""
    folder = tmp_path_factory.mktemp("kept")
    fsaverage_head_model(SMALL, cache_dir=folder)
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


@pytest.fixture
def no_building(monkeypatch):
    def refuse(*_):
        raise AssertionError("built although a good file was there")

    monkeypatch.setattr(fsaverage, "_build", refuse)


def test_two_builds_are_the_same_to_the_byte(kept, tmp_path):
    fsaverage_head_model(SMALL, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    assert (path.name, path.read_bytes()) == kept


def test_a_good_file_is_read_not_rebuilt(kept, tmp_path, no_building):
    name, content = kept
    (tmp_path / name).write_bytes(content)
    model = fsaverage_head_model(SMALL, cache_dir=tmp_path)
    assert model.leadfield.shape == (90, 60)
    assert model.settings == SMALL
    with pytest.raises(AssertionError, match="built although"):
        fsaverage_head_model(HeadModelSettings(sources=61, ico=2), cache_dir=tmp_path)


def flip_a_byte(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip_a_byte, lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"x" * 99],
    ids=["flipped bit", "half written", "empty", "garbage"],
)
def test_a_damaged_file_is_rebuilt_with_a_warning(kept, tmp_path, monkeypatch, caplog, damage):
    name, content = kept
    (tmp_path / name).write_bytes(content)
    good = read_arrays(tmp_path / name)
    (tmp_path / name).write_bytes(damage(content))
    monkeypatch.setattr(fsaverage, "_build", lambda *_: (good[0], good[1]["facts"]))
    with caplog.at_level(logging.WARNING):
        fsaverage_head_model(SMALL, cache_dir=tmp_path)
    assert "rebuilding the head model" in caplog.text
    assert (tmp_path / name).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [name]  # no temporary file is left


@pytest.mark.parametrize("change", ["shape", "nan", "identity", "missing"])
def test_a_whole_file_with_wrong_content_is_rebuilt(kept, tmp_path, monkeypatch, caplog, change):
    name, content = kept
    path = tmp_path / name
    path.write_bytes(content)
    arrays, header = read_arrays(path)
    good = dict(arrays)
    if change == "shape":
        arrays["leadfield"] = arrays["leadfield"][:, :-1]
    elif change == "nan":
        arrays["positions"] = np.full_like(arrays["positions"], np.nan)
    elif change == "missing":
        del arrays["regions"]
    else:
        header = {**header, "identity": {}}
    write_arrays(path, arrays, header)
    monkeypatch.setattr(fsaverage, "_build", lambda *_: (good, header["facts"]))
    with caplog.at_level(logging.WARNING):
        model = fsaverage_head_model(SMALL, cache_dir=tmp_path)
    assert "rebuilding the head model" in caplog.text
    np.testing.assert_array_equal(model.leadfield, good["leadfield"])
    assert path.read_bytes() == content


def test_every_setting_and_version_changes_the_name(monkeypatch, tmp_path):
    names = {cache_key(vars(SMALL))}
    others = {
        "sources": 61,
        "ico": 3,
        "surface": "white",
        "column": "vertex",
        "conductivity": (0.33, 0.0066, 0.33),
        "skull": "constant",
        "min_depth": 0.004,
    }
    assert others.keys() == vars(SMALL).keys()
    for name, value in others.items():
        names.add(cache_key({**vars(SMALL), name: value}))
    assert len(names) == 1 + len(others)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "arrays.safetensors"
    write_arrays(path, {"a": np.arange(3.0)}, {})

    def interrupt(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_arrays(path, {"a": np.arange(4.0)}, {})
    np.testing.assert_array_equal(read_arrays(path)[0]["a"], np.arange(3.0))
    assert list(tmp_path.iterdir()) == [path]


def test_reading_tells_absent_from_corrupt(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"")
    with pytest.raises(CorruptCacheError, match=r"bad.safetensors"):
        read_arrays(tmp_path / "bad.safetensors")


def test_the_directory_is_the_argument_else_the_variable_else_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("LEARNMM_CACHE", str(tmp_path / "variable"))
    assert cache_directory(tmp_path) == tmp_path
    assert cache_directory() == tmp_path / "variable"
    monkeypatch.delenv("LEARNMM_CACHE")
    assert cache_directory() == Path(platformdirs.user_cache_dir("learnmm"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": 1}, "sources must be an int in 2..10242, got 1"),
        ({"sources": 99.5}, "sources must be an int in 2..10242, got 99.5"),
        ({"ico": 9}, r"ico must be one of \(2, 3, 4, 5\), got 9"),
        ({"surface": "inflated"}, "surface must be one of .*, got 'inflated'"),
        ({"column": "mean"}, "column must be one of .*, got 'mean'"),
        ({"skull": "none"}, "skull must be one of .*, got 'none'"),
        ({"conductivity": (0.33, 0.33)}, "three positive numbers"),
        ({"conductivity": (0.33, 0.0, 0.33)}, "three positive numbers"),
        ({"min_depth": 5.0}, "between 0 and 0.02 metres, got 5.0"),
    ],
)
def test_wrong_settings_are_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        HeadModelSettings(**wrong)
