"""Arrays on disk: they come back as they were or are corrupt, and folders are kept clean."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from damage import crafted, variants
from learnmm_esi.cache import (
    CorruptCacheError,
    cache_directory,
    can_keep,
    keep_arrays,
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
    old = [f"headmodel-0a-{'0' * 32}.part", ".headmodel-0a.safetensors.0123456789abcdef"]
    mine = ["headmodel-0a.part", ".other", f"x-{'g' * 32}.part", "headmodel-0a.safetensors"]
    for name in [*old, *mine]:
        (tmp_path / name).write_text("x")
    assert can_keep(tmp_path / "a.safetensors")
    assert len(list(tmp_path.iterdir())) == 6  # their writers may be alive
    past = time.time() - 2 * 86_400
    for name in [*old, *mine]:
        os.utime(tmp_path / name, (past, past))
    keep_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    assert can_keep(tmp_path / "a.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {*mine, "a.safetensors"}
