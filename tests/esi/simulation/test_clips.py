"""Clips on disk: simulated once, and anew where a file cannot be trusted."""

from __future__ import annotations

import os

import numpy as np
import pytest

from learnmm_esi.simulation import clips as clips_module
from learnmm_esi.simulation.clips import SHARD, SpikeClips


@pytest.fixture
def counted(monkeypatch):
    """Count how often spikes are simulated; a cheap stand-in for the integration."""
    calls = []

    def simulate(seed, indices, choice):
        calls.append(indices[0])
        return np.full((len(indices), 500), seed, np.float32) + np.array(indices)[:, None] / 1024

    monkeypatch.setattr(clips_module, "spike_clips", simulate)
    return calls


def test_clips_are_simulated_once_and_then_read(tmp_path, counted):
    SpikeClips(3, cache_dir=tmp_path).prepare(SHARD + 1)
    assert counted == [0, SHARD]
    again = SpikeClips(3, cache_dir=tmp_path)
    assert again[SHARD + 7][0] == np.float32(3 + (SHARD + 7) / 1024)
    assert counted == [0, SHARD]
    SpikeClips(4, cache_dir=tmp_path)[0]
    SpikeClips(3, "any", cache_dir=tmp_path)[0]
    assert counted == [0, SHARD, 0, 0]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "swap"])
def test_damaged_files_are_simulated_anew(tmp_path, counted, damage, caplog):
    store = SpikeClips(3, cache_dir=tmp_path)
    first, second = store[0].copy(), store[SHARD].copy()
    files = sorted(tmp_path.rglob("*.safetensors"))
    if damage == "truncate":
        os.truncate(files[0], files[0].stat().st_size // 2)
    elif damage == "flip":
        content = bytearray(files[0].read_bytes())
        content[-1] ^= 1
        files[0].write_bytes(content)
    else:
        files[0].write_bytes(files[1].read_bytes())
    again = SpikeClips(3, cache_dir=tmp_path)
    np.testing.assert_array_equal(again[0], first)
    np.testing.assert_array_equal(again[SHARD], second)
    assert counted == [0, SHARD, 0]
    assert "anew" in caplog.text


def test_misuse_is_named(tmp_path):
    with pytest.raises(ValueError, match="choice"):
        SpikeClips(0, "lonely", cache_dir=tmp_path)
    with pytest.raises(IndexError, match="index"):
        SpikeClips(0, cache_dir=tmp_path)[-1]
