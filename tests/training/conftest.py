"""One unbroken training, which others are compared with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import learnmm as lmm
from fitting import (
    train,
)


@pytest.fixture(scope="session")
def unbroken() -> tuple[lmm.training.FitResult, nn.Module]:
    with torch.random.fork_rng():
        return train()
