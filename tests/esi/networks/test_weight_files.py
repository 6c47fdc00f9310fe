"""Weights that anybody may have written: loaded as they were or refused, with no memory taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

import learnmm as lmm
from damage import JUNK, hashed, refusal, split, variants, within
from eeg_learning import METHODS, build
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.head.model import Construction
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.networks.registry import method_class
from learnmm_esi.networks.solver import SourceSolver, weight_layout
from learnmm_esi.recordings.learned import find_weights

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


def solver(name: str = "mm-net", **settings: Any) -> SourceSolver:
    few = {"hidden": 2} if "hidden" in method_class(name).__dataclass_fields__ else {}
    return build(head_model(), name, Recordings(6), width=3, steps=2, **few, **settings)


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
    for section, table in (("settings", settings), ("recordings", config["recordings"])):
        others = [{**table, name: value} for name in table for value in [*junk, *sizes]]
        result += [changed(content, **{section: other}) for other in others]
    for name in settings["prior"]:
        for value in [*junk, *sizes]:
            prior = {**settings["prior"], name: value}
            result.append(changed(content, settings={**settings, "prior": prior}))
    huge = ({"kernel": 10**6 + 1, "hidden": 2**20}, {"hidden": 2**20}, {"prior": {"width": 2**20}})
    long = {"times": 50_000, "sfreq": 512.0}
    for name in METHODS:
        result += [changed(content, method=name, settings=size) for size in huge]
        result.append(changed(content, method=name, settings={}, recordings=long))
    heads = ({"sources": 10**9}, {"sources": 10_242}, {"ico": 3.0}, {"conductivity": 5}, {})
    return result + [changed(content, head=head) for head in heads]


@pytest.mark.parametrize("start", ["learned", "evidence", "sLORETA"])
@pytest.mark.parametrize("name", METHODS)
def test_the_layout_is_that_of_the_weights(name: str, start: Any) -> None:
    built = solver(name, start=start)
    layout = weight_layout(built.method, built.recordings, SOURCES)
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
    tests = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])}
    run = [sys.executable, __file__, str(tmp_path)]
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
        ({"settings": {"start": None}}, "start must be one of .*, got None"),
        ({"settings": {"prior": {"weight": "x"}}}, "weight must be positive and finite, got 'x'"),
        ({"settings": {"prior": {"learn_weight": 1}}}, "learn_weight must be true or false, got 1"),
        ({"method": ["a"]}, r"w\.safetensors: method must be one of .*, got \['a'\]"),
        ({"recordings": {"times": 0}}, r"\[recordings\]: times must be a positive integer"),
        ({"recordings": {"sfreq": 1e400}}, "not one of learnmm"),
        ({"head": {"conductivity": 5}}, r"\[head\]: "),
        ({"channels": "abc"}, "is damaged: its configuration has channels = 'abc'"),
        ({"leadfield": [None]}, r"is damaged: its configuration has leadfield = \[None\]"),
        ({"positions": None}, r"is damaged: its configuration has positions = None"),
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


def test_shipped_weights_have_a_hash_and_tell_where_their_sources_lie(tmp_path: Path) -> None:
    path = find_weights("mm-net")
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
    settings = HeadModelSettings(sources=24, ico=3)
    coarse = replace(other, origin=Construction(settings, regions=np.zeros(0, dtype=int)))
    message = r"another lead field .*: they were trained with ico=4 in place of 3 .*--ico 4\)"
    with pytest.raises(ValueError, match=message):
        load_solver(path, coarse)


if __name__ == "__main__":
    load_huge(Path(sys.argv[1]))
