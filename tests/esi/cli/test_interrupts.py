"""Ctrl-C: it arrives, once, and handlers of others are left alone."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

from learnmm_esi.cli.interrupts import persistent_interrupt


@pytest.fixture(autouse=True)
def heard_here():
    """Processes in the background are started deaf to Ctrl-C; what is tested is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
