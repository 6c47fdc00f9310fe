"""What a result was computed on is named, whatever the system tells."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
import torch

from learnmm.hardware import hardware, processor


def test_the_first_processor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2: GHz \nmodel name\t: Other\n")
    monkeypatch.setattr("learnmm.hardware.CPUINFO", info)
    assert processor() == "Some CPU @ 2: GHz"


@pytest.mark.parametrize("text", [None, "processor: 0\n", "model name:\n"])
def test_without_a_name_the_architecture_is_told(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    if text is not None:
        info.write_text(text)
    monkeypatch.setattr("learnmm.hardware.CPUINFO", info)
    assert processor() in (platform.processor(), platform.machine())
    assert processor()


def test_threads_in_use_are_told_beside_all_cores() -> None:
    used = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    assert hardware().startswith(f"{processor()}, {used}, ")
