"""Majorize-minimize steps where people expect a `torch.optim` optimizer."""

from learnmm.optim.projected import ProjectedMM

__all__ = ["ProjectedMM"]
