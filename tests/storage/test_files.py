"""Others see a file not at all, as it was, or complete."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from learnmm.storage import remove_leftovers, replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_moved_into_place_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x-fwd.fif.gz"
    with replacing(path) as temporary:
        assert temporary.name == path.name  # libraries read the kind of a file off its name
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == [path.name]


def test_files_that_belong_together_are_moved_together(tmp_path: Path) -> None:
    with replacing(tmp_path / "x") as temporary:
        for hemi in ("lh", "rh"):
            temporary.with_name(f"x-{hemi}.stc").write_text(hemi)
    assert names(tmp_path) == ["x-lh.stc", "x-rh.stc"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_what_there_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.json"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    refused = pytest.raises(FileNotFoundError, match=r"nothing was written for .*x\.json")
    with refused, replacing(tmp_path / "x.json"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize("private", [False, True])
def test_files_have_the_mode_that_the_umask_leaves(
    tmp_path: Path, mask: int, private: bool
) -> None:
    path = tmp_path / "x"
    before = os.umask(mask)
    try:
        with replacing(path) as temporary:
            temporary.write_text("x")
            if private:  # as tempfile makes them
                temporary.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "x"
    link.symlink_to(tmp_path / "elsewhere" / "y")
    with replacing(link) as temporary:
        temporary.write_text("x")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "y").read_text() == "x"


def test_devices_are_written_to_and_folders_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with replacing(pipe) as temporary:
        assert temporary == pipe
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    refused = pytest.raises(IsADirectoryError, match=r"expected a file to write, but .* a folder")
    with refused, replacing(tmp_path):
        raise AssertionError("found out before anything is computed")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused = pytest.raises(OSError, match=re.escape(str(tmp_path / "file")))
    with refused, replacing(tmp_path / "file" / "x.json"):
        raise AssertionError("found out before anything is computed")


FULL = """
import resource, sys
from pathlib import Path
from learnmm.storage import replacing
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
path = Path(sys.argv[1])
try:
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(100_000))
except OSError as error:
    assert str(path) in str(error) and "too large" in str(error), error
else:
    raise AssertionError
"""


def test_a_disk_that_is_full_leaves_what_there_was_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_text("old")
    subprocess.run([sys.executable, "-c", FULL, str(path)], check=True)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.bin"]


KILLED = """
import os, signal, sys
from learnmm.storage import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert not path.exists()
    assert len(names(tmp_path)) == 1
    kept = [".x.bin.backup", ".x.bin", "x.bin.0123456789abcdef", ".y.bin.0123456789abcdef"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".x.bin.0123456789abcdef").write_text("of an older version")
    remove_leftovers(tmp_path, "x.bin", older_than=3600)
    assert len(names(tmp_path)) == len(kept) + 2  # somebody may still be writing
    past = time.time() - 4000
    for name in set(names(tmp_path)) - set(kept):
        os.utime(tmp_path / name, (past, past))
    remove_leftovers(tmp_path, "x.bin", older_than=3600)
    assert names(tmp_path) == sorted(kept)
