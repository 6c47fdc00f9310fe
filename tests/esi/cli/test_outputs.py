"""Folders of results: refused before anything is computed, and kept clean."""

from __future__ import annotations

import os
import time

import pytest

from learnmm.storage import replacing
from learnmm_esi.cli.outputs import make_writable


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    with replacing(tmp_path / "estimate-lh.stc") as file:
        file.write_text("half of it")
        old, young = file.parent, tmp_path / f"{file.parent.name[:-16]}{16 * '0'}"
        young.mkdir()
        yesterday = time.time() - 90_000
        os.utime(old, (yesterday, yesterday))
        make_writable(tmp_path)
        assert (old.exists(), young.exists()) == (False, True)
        old.mkdir()
        file.write_text("all of it")


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file must be a folder, but is a file"):
        make_writable(tmp_path / "file")
    with pytest.raises(OSError):
        make_writable(tmp_path / "file" / "below")
    make_writable(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
