"""Two processes that talk by gloo."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

Cases = Mapping[str, Callable[[int], str]]


def told_by_two(cases: Cases) -> dict[str, list[str]]:
    """What both processes say in every case, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        threads = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            torch.multiprocessing.spawn(_work, (folder, cases), nprocs=2)
        finally:
            if threads is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = threads
        return {name: [Path(folder, f"{name}.{k}").read_text() for k in (0, 1)] for name in cases}


def _work(rank: int, folder: str, cases: Cases) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    for name, case in cases.items():
        Path(folder, f"{name}.{rank}").write_text(case(rank))
        dist.barrier()
    dist.destroy_process_group()
