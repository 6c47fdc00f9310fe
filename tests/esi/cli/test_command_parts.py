"""What the commands are made of: text, outputs, interrupts, extras."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnmm.storage import replacing
from learnmm_esi.cli.interrupts import persistent_interrupt
from learnmm_esi.cli.outputs import make_writable
from learnmm_esi.cli.text import drawable, printable
from learnmm_esi.extras import needs_extra
from learnmm_esi.fif import reading

# ------------------------------------------------------------------------------------------- text


@given(st.text(st.characters(codec=None)))
def test_no_terminal_obeys_what_was_printable(text):
    shown = printable(text)
    shown.encode("utf-8")  # half of a surrogate pair, a path's byte, has no encoding
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(shown) & set("\u202e\u2066")
    assert printable(shown) == shown


def test_plain_text_is_left_alone():
    assert printable("naïve µV, 左手\nnext") == "naïve µV, 左手\nnext"
    assert printable("red \x1b[31m\x9b") == r"red \x1b[31m\x9b"
    assert printable(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


def test_a_dollar_begins_no_formula():
    assert drawable("a $\\foo$ \x07") == r"a \$\foo\$ \x07"


# ---------------------------------------------------------------------------------------- outputs


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


# ------------------------------------------------------------------------------------- interrupts


def deaf(seconds: float) -> None:
    """A library that goes on another way whatever happens, as trimesh does."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGINT)
    time.sleep(seconds)


def test_ctrl_c_arrives_though_a_library_swallows_it():
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), persistent_interrupt():
        deaf(60)
    assert time.monotonic() - begin < 30  # in the middle of it, after a second
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_comes_once_where_it_is_heard():
    with pytest.raises(KeyboardInterrupt), persistent_interrupt():
        signal.raise_signal(signal.SIGINT)
    time.sleep(1.2)  # nothing comes after


def test_handlers_of_others_and_other_threads_are_left_alone():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        with persistent_interrupt():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]

    def elsewhere():
        with persistent_interrupt():
            heard.append(2)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert heard == [1, 2]


# ------------------------------------------------------------------------------- readers and extras


@pytest.mark.parametrize(
    "error", [KeyError("kind"), EOFError(), OverflowError("big"), OSError("x")]
)
def test_whatever_a_reader_says_names_the_file(error):
    message = r"a-fwd\.fif holds no forward solution that can be read"
    with pytest.raises(ValueError, match=message), reading("a-fwd.fif", "forward solution"):
        raise error


def test_a_missing_file_is_said_to_be_missing():
    with pytest.raises(FileNotFoundError), reading("a", "thing"):
        raise FileNotFoundError("a")


def test_a_missing_package_names_the_extra():
    message = r"no_such is missing: pip install 'learnmm\[esi\]'"
    with pytest.raises(ImportError, match=message), needs_extra("esi"):
        import no_such.part  # noqa: F401
    ours = r"No module named 'learnmm\.no_such'"
    with pytest.raises(ModuleNotFoundError, match=ours), needs_extra("esi"):
        import learnmm.no_such  # noqa: F401


def without(package: str, code: str) -> str:
    """What a fresh interpreter prints that lacks a package."""
    block = f"import sys; sys.modules[{package!r}] = None; "
    ran = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    return ran.stderr


COMMAND = "from learnmm_esi.__main__ import main; sys.argv[1:] = {}; main()"


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_the_command_says_what_to_install(package):
    said = without(package, COMMAND.format(["--help"]))
    assert said == (
        f"Error: learnmm-esi cannot start: the package {package} is missing: "
        "pip install 'learnmm[esi]'\n"
    )


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("mne", ["head-model"], "esi"),
        ("lightning_fabric", ["train", "mm-net", "--preset", "smoke", "--out"], "esi,train"),
    ],
)
def test_commands_say_what_to_install(tmp_path, package, arguments, extra):
    if arguments[-1] == "--out":
        arguments = [*arguments, str(tmp_path)]
    said = without(package, COMMAND.format(arguments))
    assert f"Error: the package {package} is missing: pip install 'learnmm[{extra}]'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "code",
    ["import learnmm; learnmm.problem('eeg-erp')", "from learnmm_esi import report"],
)
def test_problem_and_names_say_what_to_install(code):
    assert "the package mne is missing: pip install 'learnmm[esi]'" in without("mne", code)


# ------------------------------------------------------------------------------------------ malloc

MALLOC = """
import ctypes, sys
import numpy as np

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_int) for name in names.split()]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Info

def maps_large_arrays():
    before = mallinfo().hblks
    array = np.empty(64 * 2**20, dtype=np.uint8)
    return mallinfo().hblks > before

from learnmm_esi.training.allocation import keep_freed_memory
from learnmm_esi.training.evaluate import evaluate
from learnmm_esi.training.presets import load_preset
from learnmm_esi.training.train import train
told = [maps_large_arrays()]
smoke = load_preset("smoke")
for call, given in ((evaluate, (None, None, 0)), (train, (None, "", "", smoke, ""))):
    try:
        call(*given)
    except Exception:
        pass
    told.append(maps_large_arrays())
keep_freed_memory()
print(*told, maps_large_arrays())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"),
    reason="of the C library glibc",
)
def test_only_a_command_changes_malloc():
    ran = subprocess.run([sys.executable, "-c", MALLOC], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True", "True", "False"]
