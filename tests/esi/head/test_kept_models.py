"""Head models that are kept: the same bytes every time, and no damaged file is trusted."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from damage import JUNK, crafted, variants
from learnmm_esi.cache import (
    read_arrays,
    write_arrays,
)
from learnmm_esi.head import fsaverage
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.settings import HeadModelSettings

SMALL = HeadModelSettings(sources=60, ico=2)
TINY = HeadModelSettings(sources=12, ico=2)


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

    monkeypatch.setattr(fsaverage, "construct", refuse)


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
    monkeypatch.setattr(fsaverage, "construct", lambda *_: (good[0], good[1]["facts"]))
    with caplog.at_level(logging.WARNING):
        fsaverage_head_model(SMALL, cache_dir=tmp_path)
    assert "making the head model anew" in caplog.text
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
    monkeypatch.setattr(fsaverage, "construct", lambda *_: (good, header["facts"]))
    with caplog.at_level(logging.WARNING):
        model = fsaverage_head_model(SMALL, cache_dir=tmp_path)
    assert "making the head model anew" in caplog.text
    np.testing.assert_array_equal(model.leadfield, good["leadfield"])
    assert path.read_bytes() == content


def whole_model(settings: HeadModelSettings = TINY) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays of the right shapes, as construction would give them."""
    n = settings.sources
    rng = np.random.default_rng(0)
    ring = sparse.diags([np.ones(n - 1)] * 2, [-1, 1]).tocsr()
    half = np.arange(n // 2)
    arrays = {
        "leadfield": rng.standard_normal((90, n)),
        "positions": rng.standard_normal((n, 3)),
        "normals": rng.standard_normal((n, 3)),
        "distances": np.ones((n, n)),
        "neighbour_indices": ring.indices.astype(np.int64),
        "neighbour_indptr": ring.indptr.astype(np.int64),
        "vertices_lh": half,
        "vertices_rh": half,
        "regions": np.zeros(20_484, dtype=np.int64),
    }
    return arrays, {"thickness": 1.0}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Construction in no time; counts how often."""
    calls: list[int] = []

    def build(*_: Any) -> Any:
        calls.append(1)
        return whole_model()

    monkeypatch.setattr(fsaverage, "construct", build)
    return calls


def test_models_are_rebuilt_from_whatever_the_cache_holds(
    tmp_path: Path, built: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    fsaverage_head_model(TINY, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    arrays, header = read_arrays(path)
    wrong: list[tuple[dict[str, np.ndarray], dict]] = []
    for name, array in arrays.items():
        wrong.append(({n: a for n, a in arrays.items() if n != name}, header))
        others = (array[..., None], array[:-1], array.astype(np.float32), array.astype(bool))
        wrong += [({**arrays, name: other}, header) for other in others]
        if array.dtype == np.int64:
            wrong += [({**arrays, name: array + shift}, header) for shift in (-50, 30_000, 2**40)]
    for junk in JUNK:
        wrong += [(arrays, {**header, "facts": junk})] if junk not in ({},) else []
        wrong += [(arrays, {**header, "identity": junk})]
    for arrays_, header_ in wrong:
        write_arrays(path, arrays_, header_)
        before = len(built)
        model = fsaverage_head_model(TINY, cache_dir=tmp_path)
        assert len(built) == before + 1
        assert model.leadfield.shape == (90, 12)
        assert path.read_bytes() == content
    for damaged in [*variants(content, 20, seed=6), *crafted(content)]:
        path.write_bytes(damaged)
        assert fsaverage_head_model(TINY, cache_dir=tmp_path).leadfield.shape == (90, 12)
    assert "making the head model anew" in caplog.text


@pytest.mark.parametrize("kind", ["file", "below a file", "cache is a folder"])
def test_without_a_place_to_keep_it_a_model_is_built_and_that_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    place = tmp_path / "cache"
    if kind == "cache is a folder":
        place.mkdir()
        monkeypatch.setattr(fsaverage, "construct", lambda *_: whole_model())
        fsaverage_head_model(TINY, cache_dir=place)
        (path,) = place.iterdir()
        path.unlink()
        path.mkdir()
    else:
        place.write_text("a file")
        place = place / "below" if kind == "below a file" else place
    monkeypatch.setenv("LEARNMM_CACHE", str(place))

    def build(*_: Any) -> Any:
        assert "LEARNMM_CACHE" in caplog.text, "said before minutes are spent"
        return whole_model()

    monkeypatch.setattr(fsaverage, "construct", build)
    with caplog.at_level(logging.WARNING):
        model = fsaverage_head_model(TINY)
    assert model.leadfield.shape == (90, 12)
    assert str(place if kind == "cache is a folder" else tmp_path / "cache") in caplog.text


def test_a_disk_that_fills_up_loses_no_model(tmp_path: Path) -> None:
    run = [sys.executable, __file__, str(tmp_path)]
    tests = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])}
    full = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert full.returncode == 0, full.stderr
    assert full.stdout.split() == ["90", "12"]
    assert "File too large" in full.stderr
    assert "LEARNMM_CACHE" in full.stderr
    assert list(tmp_path.iterdir()) == []


def build_on_a_full_disk(folder: Path) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    fsaverage.construct = lambda *_: whole_model()
    print(*fsaverage_head_model(TINY, cache_dir=folder).leadfield.shape)


if __name__ == "__main__":
    build_on_a_full_disk(Path(sys.argv[1]))
