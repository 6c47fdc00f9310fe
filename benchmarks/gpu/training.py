"""A training step of MM-Net's start in bfloat16, and its share of what the device can do."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.timing import seconds
from benchmarks.pages import line, table
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.training.preparation import Preparing, preparation_loss
from learnmm_esi.training.presets import load_preset
from learnmm_esi.training.seen import SeenRecordings
from learnmm_esi.training.train import simulate

PRODUCT = 4096


def peak(device: str, repeats: int) -> float:
    """Operations a second of a product of large matrices in bfloat16."""
    a, b = (torch.randn(PRODUCT, PRODUCT, device=device, dtype=torch.bfloat16) for _ in "ab")
    return 2 * PRODUCT**3 / seconds(lambda: a @ b, device, repeats)


def training(device: str, repeats: int) -> list[str]:
    """Time of a step, forward, backward and update, and its operations."""
    preset = load_preset("smoke", "mm-net")
    head = fsaverage_head_model()
    simulated = simulate(head, "erp", preset, progress=False)
    solver = SourceSolver(head, preset.method, simulated.recordings)
    model = Preparing(solver.energy).to(device)
    update = torch.optim.Adam(model.parameters(), lr=1e-4)
    loader = DataLoader(
        SeenRecordings(simulated.training), batch_size=1, collate_fn=default_collate
    )
    batch: Any = {name: value.to(device) for name, value in next(iter(loader)).items()}

    def step() -> None:
        update.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16):
            loss, _ = preparation_loss(model(batch), batch)
        loss.backward()
        update.step()

    step()
    with FlopCounterMode(display=False) as counter:
        step()
    took, most = seconds(step, device, repeats), peak(device, repeats)
    done = counter.get_total_flops()
    cells = [f"{1e3 * took:.2f}", f"{done / 1e9:.2f}", f"{most / 1e12:.1f}"]
    share = f"{100 * done / took / most:.1f} %"
    head = ["step, ms", "operations, 1e9", "peak of products, 1e12 a second", "share of the peak"]
    return table(head, [line([*cells, share])])
