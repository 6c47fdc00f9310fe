"""Ctrl-C that no library swallows."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["persistent_interrupt"]

AGAIN = 1.0  # seconds, enough for clean-up handlers to end before the next one


@contextlib.contextmanager
def persistent_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt again every second after Ctrl-C, until it arrives here.

    trimesh, which builds head models, has handlers of BaseException that go on another way, and
    callbacks from C end an exception where it arises; then Ctrl-C would do nothing. Whoever set a
    handler of their own keeps it, and a thread other than the main one gets no signals at all.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    timer: threading.Timer | None = None
    over = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        timer = threading.Timer(AGAIN, once_more)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def once_more() -> None:
        if over:
            return
        main = threading.main_thread().ident
        if main is not None and hasattr(signal, "pthread_kill"):  # wakes a system call up, too
            signal.pthread_kill(main, signal.SIGINT)
        else:
            _thread.interrupt_main()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        over = True
        if timer is not None:
            timer.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
