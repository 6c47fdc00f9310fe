"""Keep freed memory: on Linux, half of a training's time can go into getting pages again."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Ask the C library to reuse large arrays instead of returning them to the system.

    glibc gives every array above 32 MiB at most back to the kernel when it is freed, and the next
    one of that size is paid for page by page. A training frees and allocates the same arrays all
    the time. Does nothing where the C library is another.

    It holds for the whole process and cannot be undone: for commands and scripts, which own theirs,
    and not to be called by what a user's program calls.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
