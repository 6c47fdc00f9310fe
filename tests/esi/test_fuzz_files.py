"""Weights, caches and presets that anybody may have written: one promised error, no memory."""

from __future__ import annotations

import json
import logging
import os
import random
import stat
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

import learnmm as lmm
from damage import JUNK, crafted, hashed, refusal, split, variants, within
from learnmm_esi.cache import (
    CorruptCacheError,
    cache_directory,
    can_keep,
    keep_arrays,
    read_arrays,
    write_arrays,
)
from learnmm_esi.head import fsaverage
from learnmm_esi.head.external import head_model_from_leadfield
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModelSettings
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.settings import METHODS, MethodSettings
from learnmm_esi.networks.solver import SourceSolver, weight_layout
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.training.presets import FOLDER, load_preset

SOURCES, SENSORS = 24, 8
TRAINED = {"data": "erp", "training": {}}


def head_model(order: Any = slice(None)) -> Any:
    """A lead field that tells sources apart, of sources on a sphere, in some order."""
    rng = np.random.default_rng(0)
    places = rng.standard_normal((SOURCES, 3))
    places = 0.06 * places / np.linalg.norm(places, axis=1, keepdims=True)
    ring = sparse.diags([np.ones(SOURCES - 1)] * 2, [-1, 1]).tolil()
    return head_model_from_leadfield(
        1e4 * rng.standard_normal((SENSORS, SOURCES))[:, order],
        places[order],
        ring.tocsr(),
        [f"E{k}" for k in range(SENSORS)],
    )


def solver(method: str = "mm-net-a", **settings: Any) -> SourceSolver:
    torch.manual_seed(0)
    small = {"hidden": 2, "width": 3, "times": 6, "steps": 2}
    return SourceSolver(head_model(), MethodSettings(method, **{**small, **settings}))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_solver(path, solver(), TRAINED, {"loss": 1.0})
    return path.read_bytes()


def changed(content: bytes, **entries: Any) -> bytes:
    """The file with other entries in its configuration, and a hash that is right."""
    whole, data = split(content)
    ours = json.loads(whole["__metadata__"]["learnmm"])
    return hashed(whole, {**ours, "config": {**ours["config"], **entries}}, data)


def configurations(content: bytes) -> list[bytes]:
    whole, _ = split(content)
    config = json.loads(whole["__metadata__"]["learnmm"])["config"]
    settings = config["settings"]
    junk = [*JUNK, [None], [["x"]], [[1, 2]], "../../x", 10**400 // 10**95]
    result = [changed(content, **{name: value}) for name in config for value in junk]
    sizes = [3, 10**6 + 1, 50_000, 2 * 10**6, 10**9]
    others = [{name: value} for name in settings for value in [*junk, *sizes]]
    huge = ({"times": 50_000}, {"kernel": 10**6 + 1, "hidden": 2**20}, {"width": 2**20})
    others += [{"method": method, **size} for method in METHODS for size in huge]
    result += [changed(content, settings={**settings, **other}) for other in others]
    heads = ({"sources": 10**9}, {"sources": 10_242}, {"ico": 3.0}, {"conductivity": 5}, {})
    return result + [changed(content, head=head) for head in heads]


# --- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["learned", "sLORETA"])
@pytest.mark.parametrize("method", METHODS)
def test_the_layout_is_that_of_the_weights(method: str, start: Any) -> None:
    built = solver(method, start=start)
    layout = weight_layout(built.settings, SOURCES)
    state = built.state_dict()
    assert layout.keys() == state.keys()
    for name, value in state.items():
        assert layout[name].is_meta
        assert (layout[name].shape, layout[name].dtype) == (value.shape, value.dtype)


def test_weights_are_loaded_as_they_were_or_refused(content: bytes, tmp_path: Path) -> None:
    path, model = tmp_path / "w.safetensors", head_model()
    path.write_bytes(content)
    good = load_solver(path, model)
    loaded = 0
    for damaged in [*variants(content, 60, seed=4), *configurations(content)]:
        path.write_bytes(damaged)
        with refusal() as error:
            found = load_solver(path, model)
        if error:
            continue
        loaded += 1
        for name, value in good.state_dict().items():
            assert torch.equal(found.state_dict()[name], value)
    assert 0 < loaded < 60  # settings that weights do not depend on


def test_settings_are_compared_before_anything_is_built(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])}
    run = [sys.executable, __file__, "huge", str(tmp_path)]
    subprocess.run(run, check=True, env=environment, timeout=240)


def load_huge(folder: Path) -> None:
    path, model = folder / "w.safetensors", head_model()
    save_solver(path, solver(), TRAINED, {})
    good = path.read_bytes()
    load_solver(path, model)
    within(megabytes=200)
    for damaged in configurations(good):
        path.write_bytes(damaged)
        for given in (model, None):  # without one, the model of the file would be built
            with refusal():
                load_solver(path, given)


def test_an_honest_file_asks_for_a_model_and_a_lying_one_for_nothing(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model is built for a file that lies about it")

    monkeypatch.setattr("learnmm_esi.networks.files.fsaverage_head_model", refuse)
    path = tmp_path / "w.safetensors"
    path.write_bytes(changed(content, head={"sources": 10_242}))
    with pytest.raises(ValueError, match=r"has shape \(3, 24, 1\) .*expected \(3, 10242, 1\)"):
        load_solver(path)
    path.write_bytes(changed(content, head={"sources": SOURCES}))
    with pytest.raises(AssertionError):
        load_solver(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"settings": 5}, r"\[settings\] must be a table of settings, got 5"),
        ({"settings": {"depth": 1}}, r"unknown setting 'depth' in \[settings\]"),
        ({"settings": {"steps": 10**9}}, "steps must be a positive integer, at most 10000, got 1"),
        ({"settings": {"hidden": True}}, "hidden must be a positive integer, .*got True"),
        ({"settings": {"method": ["a"]}}, "method must be one of"),
        ({"settings": {"weight": "x"}}, "weight must be positive and finite, got 'x'"),
        ({"settings": {"learn_weight": 1}}, "learn_weight must be true or false, got 1"),
        ({"settings": {"sfreq": 1e400}}, "not one of learnmm"),
        ({"head": {"conductivity": 5}}, r"\[head\]: "),
        ({"channels": "abc"}, "is damaged: its configuration has channels = 'abc'"),
        ({"leadfield": [None]}, r"is damaged: its configuration has leadfield = \[None\]"),
        ({"positions": [[1, 2]]}, r"is damaged: .*positions = \[\[1, 2\]\]"),
        ({"data": "../../erp"}, r"is damaged: .*data = '\.\./\.\./erp'"),
    ],
)
def test_configurations_that_cannot_be_are_named(
    content: bytes, tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(changed(content, **entries))
    with pytest.raises(ValueError, match=message):
        load_solver(path, head_model())


def test_another_order_of_the_sources_is_refused(content: bytes, tmp_path: Path) -> None:
    path, model = tmp_path / "w.safetensors", head_model()
    path.write_bytes(content)
    for order in (np.arange(SOURCES)[::-1], np.roll(np.arange(SOURCES), 1)):
        with pytest.raises(
            ValueError, match=r"are for other sources: .* of 24 lie more than 10 mm"
        ):
            load_solver(path, head_model(order), transfer=True)
    two = np.arange(SOURCES)
    two[[3, 9]] = two[[9, 3]]
    with pytest.raises(ValueError, match=r"other sources: 2 of 24 lie .*in another order"):
        load_solver(path, head_model(two), transfer=True)
    fewer = head_model()
    fewer = replace(fewer, leadfield=fewer.leadfield[:, :-1], positions=fewer.positions[:-1])
    with pytest.raises(ValueError, match="are for 24 sources, the head model has 23"):
        load_solver(path, fewer, transfer=True)
    rng = np.random.default_rng(1)
    near = replace(
        model,
        leadfield=model.leadfield * (1 + 0.1 * rng.random(SOURCES)),
        positions=model.positions + 1e-3 * rng.standard_normal((SOURCES, 3)),
    )
    assert load_solver(path, near, transfer=True).head is near
    with pytest.raises(ValueError, match="another lead field"):
        load_solver(path, near)
    path.write_bytes(changed(content, positions=None))
    with pytest.raises(ValueError, match="do not tell where their sources lie"):
        load_solver(path, near, transfer=True)
    load_solver(path, model)


def test_shipped_weights_have_a_hash_and_tell_where_their_sources_lie(tmp_path: Path) -> None:
    path = find_weights("mm-net-erp")
    content = path.read_bytes()
    _, config = lmm.load_weights(path)
    assert np.shape(config["positions"]) == (994, 3)
    (tmp_path / "w.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="does not match its hash"):
        lmm.load_weights(tmp_path / "w.safetensors")


def test_weights_of_the_library_s_head_model_name_its_settings(
    content: bytes, tmp_path: Path
) -> None:
    path, other = tmp_path / "w.safetensors", head_model()
    path.write_bytes(changed(content, head={"sources": 24, "ico": 4}))
    other = replace(other, leadfield=2.0 * other.leadfield[:, ::-1])
    with pytest.raises(ValueError, match=r"trained on the library's own, .*ico=4"):
        load_solver(path, other)
    coarse = replace(other, settings=HeadModelSettings(sources=24, ico=3))
    message = r"another lead field .*: they were trained with ico=4 in place of 3 .*--ico 4\)"
    with pytest.raises(ValueError, match=message):
        load_solver(path, coarse)


# --- caches ------------------------------------------------------------------------------------

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
    run = [sys.executable, __file__, "full", str(tmp_path)]
    tests = str(Path(__file__).parents[1])
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


# --- presets -----------------------------------------------------------------------------------


def test_presets_load_or_are_refused_with_one_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    rng = random.Random(7)
    texts = [file.read_bytes() for file in sorted(FOLDER.glob("*.toml"))]
    for _ in range(400):
        damaged = bytearray(rng.choice(texts))
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with refusal():
            load_preset(path)


VALUES = [
    "true", "0", "-1", "3", "3.5", "1e400", "nan", "inf", '"x"', "[]", "[1, 2]", '["a", "b"]',
    "{}", "{a = 1}", "9" * 400, "1979-05-27", "[[1], [2]]", '"\\u001b[31m"',
]  # fmt: skip


def test_settings_of_any_type_load_or_are_refused_with_one_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    sections = {
        "head": ["sources", "ico", "surface", "column", "conductivity", "skull", "min_depth"],
        "method": list(MethodSettings.__dataclass_fields__),
        "fit": ["steps", "batch_size", "adam", "precision", "validate_every", "patience", "seed"],
        "fit.adam": ["lr", "lr_factors", "warmup", "final_lr", "clip", "ema"],
        "training": ["loss", "horizons", "verified_from", "train_size", "window", "seed"],
    }
    for section, names in sections.items():
        for value in VALUES:
            path.write_text(f"{section} = {value}")
            with refusal():
                load_preset(path)
            for name in names:
                steps = "[fit]\nsteps = 30\n" if section == "fit.adam" else ""
                first = "steps = 30\n" if section == "fit" and name != "steps" else ""
                path.write_text(f"{steps}[{section}]\n{first}{name} = {value}")
                with refusal():
                    preset = load_preset(path)
                    json.dumps([preset.method, preset.as_dict(), asdict(preset.fit)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"fit = 5", r"\[fit\] must be a table of settings, got 5"),
        (b"[training]\nhorizons = 5", "horizons must be two integers, .* got 5"),
        (b"[training]\nhorizons = [1.5, 2]", "horizons must be two integers"),
        (b"[training]\nloss = []", r"loss must be one of .*, got \[\]"),
        (b"[training]\nseed = 1.5", "seed must be an integer of 0 or more"),
        (b"[training]\nverified_from = 'x'", "verified_from must be a share"),
        (b"[fit]\nlr = 1e-3", r"\[fit\]: .*missing .* 'steps'"),
        (b"[fit]\nsteps = 'x'", r"\[fit\]: steps must be an integer, got 'x'"),
        (b"[head]\nconductivity = 5", r"\[head\]: "),
        (b"[head]\nico = 3.0", r"\[head\]: ico must be one of .*, got 3\.0"),
        (b"[method]\nmethod = 'mm-net'", r"\[method\] holds settings of any method"),
        (b"\xff", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "is not valid TOML"),
        (b"#" * 2**21, "is no preset: it has more than 1048576 bytes"),
    ],
)
def test_faulty_presets_name_what_is_wrong(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        load_preset(path)


def test_what_trains_and_saves_is_public() -> None:
    import learnmm_esi as esi

    for name in ("MethodSettings", "Preset", "SourceSolver", "TrainingSettings", "load_preset"):
        assert name in esi.__all__
    for name in ("load_solver", "save_solver", "train"):
        assert callable(getattr(esi, name))


if __name__ == "__main__":
    action = {"huge": load_huge, "full": build_on_a_full_disk}[sys.argv[1]]
    action(Path(sys.argv[2]))
