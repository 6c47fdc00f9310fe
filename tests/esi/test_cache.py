"""Arrays on disk: as they were or corrupt, and in a place that is known."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from damage import crafted, variants
from learnmm_esi.cache import (
    ArrayCache,
    Arrays,
    CorruptCacheError,
    Header,
    cache_directory,
    read_arrays,
    write_arrays,
)

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3).T,
    "b": np.array([1, 2], dtype=np.int64),
    "c": np.array([True, False]),
    "d": np.ones(3, dtype=np.float32)[::2],
}


def test_arrays_come_back_as_they_were_or_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    write_arrays(path, ARRAYS, {"identity": {"sources": 3}, "facts": {"x": 1.0}})
    content = path.read_bytes()
    good = read_arrays(path)
    corrupt = 0
    for damaged in [*variants(content, 200, seed=5), *crafted(content)]:
        path.write_bytes(damaged)
        try:
            arrays, header = read_arrays(path)
        except CorruptCacheError:
            corrupt += 1
            continue
        assert isinstance(header, dict)
        for name, array in good[0].items():
            np.testing.assert_array_equal(arrays[name], array)
    assert corrupt > 350
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(good[0][name], array)
        assert good[0][name].dtype == array.dtype


def test_the_home_in_a_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LEARNMM_CACHE", "~/models")
    assert cache_directory() == tmp_path / "models"
    assert cache_directory("~/others") == tmp_path / "others"


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_a_group_may_share_a_cache(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~mask


def test_leftovers_of_writers_that_were_killed_go(tmp_path: Path) -> None:
    old, mine = ".headmodel-0a.safetensors.0123456789abcdef", [".other", "headmodel-0a.safetensors"]
    for name in [old, *mine]:
        (tmp_path / name).write_text("x")
    numbers(tmp_path, "a")
    assert (tmp_path / old).exists()  # its writer may be alive
    past = time.time() - 2 * 86_400
    for name in [old, *mine]:
        os.utime(tmp_path / name, (past, past))
    numbers(tmp_path, "b")
    assert {p.name for p in tmp_path.iterdir()} == {*mine, "a.safetensors", "b.safetensors"}


def numbers(folder: Path, *names: str, made: int = 7) -> list[int]:
    """What files of a folder hold, `made` where there is none to trust."""
    cache = ArrayCache(folder, "numbers")

    def read(arrays: Arrays, header: Header) -> int:
        if header != {"kind": "number"}:
            raise CorruptCacheError("it holds no number")
        return int(arrays["number"][0])

    def make() -> tuple[Arrays, Header]:
        return {"number": np.array([made])}, {"kind": "number"}

    return [cache.get(name, read, make) for name in names]


def test_what_is_kept_is_made_once(tmp_path: Path) -> None:
    assert numbers(tmp_path, "a", "b") == [7, 7]
    assert numbers(tmp_path, "b", "c", made=8) == [7, 8]
    assert {p.name for p in tmp_path.iterdir()} == {f"{n}.safetensors" for n in "abc"}


@pytest.mark.parametrize("damage", ["other header", "no file of arrays"])
def test_what_cannot_be_trusted_is_made_anew_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "a.safetensors"
    if damage == "other header":
        write_arrays(path, {"number": np.array([5])}, {"kind": "letter"})
    else:
        path.write_text("5")
    assert numbers(tmp_path, "a") == [7]
    assert "making numbers anew" in caplog.text
    assert numbers(tmp_path, "a", made=8) == [7]


def test_without_a_place_to_keep_it_everything_is_made_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").write_text("a file")
    assert numbers(tmp_path / "folder", "a", "b") == [7, 7]
    assert caplog.text.count("LEARNMM_CACHE") == 1


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
