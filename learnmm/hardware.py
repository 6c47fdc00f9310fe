"""What a result was computed on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

__all__ = ["hardware", "processor"]

CPUINFO = Path("/proc/cpuinfo")


def hardware() -> str:
    """Name processor, cores in use and GPU.

    Returns
    -------
    str
        Such as ``"AMD EPYC, 1 of 2 cores, no GPU"``.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor()}, {torch.get_num_threads()} of {os.cpu_count()} cores, {gpu}"


def processor() -> str:
    """Name the processor, where the system tells; else its architecture."""
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
