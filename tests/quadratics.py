"""Slow quadratic problems, and the reasons why a solve stopped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from catalogue import Draw

Status = lmm.Status

DATA = Draw(3, torch.float64)


def quadratic(**settings: Any) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
    """A problem that takes many steps: the curvature is ten times too large."""
    target = DATA.target()
    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: 1 + ((x - target) ** 2).sum(1) / 2,
        majorant=lmm.majorants.LipschitzMajorant(10.0),
        settings=lmm.SolveSettings(**settings),
    )
    return optimizer, DATA.point()


def statuses(result: lmm.Result) -> list[Status]:
    return [Status(int(code)) for code in result.status]
