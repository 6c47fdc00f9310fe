"""Head models of a cache: rebuilt from whatever it holds, and built where nothing can be kept."""

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
from learnmm_esi.cache import read_arrays, write_arrays
from learnmm_esi.head import fsaverage
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModelSettings

SMALL = HeadModelSettings(sources=12, ico=2)


def whole_model(settings: HeadModelSettings = SMALL) -> tuple[dict[str, np.ndarray], dict]:
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

    monkeypatch.setattr(fsaverage, "_build", build)
    return calls


def test_models_are_rebuilt_from_whatever_the_cache_holds(
    tmp_path: Path, built: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    fsaverage_head_model(SMALL, cache_dir=tmp_path)
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
        model = fsaverage_head_model(SMALL, cache_dir=tmp_path)
        assert len(built) == before + 1
        assert model.leadfield.shape == (90, 12)
        assert path.read_bytes() == content
    for damaged in [*variants(content, 20, seed=6), *crafted(content)]:
        path.write_bytes(damaged)
        assert fsaverage_head_model(SMALL, cache_dir=tmp_path).leadfield.shape == (90, 12)
    assert "rebuilding the head model" in caplog.text


@pytest.mark.parametrize("kind", ["file", "below a file", "cache is a folder"])
def test_without_a_place_to_keep_it_a_model_is_built_and_that_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    place = tmp_path / "cache"
    if kind == "cache is a folder":
        place.mkdir()
        monkeypatch.setattr(fsaverage, "_build", lambda *_: whole_model())
        fsaverage_head_model(SMALL, cache_dir=place)
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

    monkeypatch.setattr(fsaverage, "_build", build)
    with caplog.at_level(logging.WARNING):
        model = fsaverage_head_model(SMALL)
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
    fsaverage._build = lambda *_: whole_model()
    print(*fsaverage_head_model(SMALL, cache_dir=folder).leadfield.shape)


if __name__ == "__main__":
    build_on_a_full_disk(Path(sys.argv[1]))
