"""Memory of the C library: changed by commands alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
smoke = load_preset("smoke", "mm-net")
for call, given in ((evaluate, (None, None, 0)), (train, (None, "", smoke, ""))):
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
