"""Blur and finite differences as small dense matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_blur(length: int, width: float) -> Tensor:
    """Rows are Gaussians of standard deviation `width` samples, each normalised to sum 1."""
    position = torch.arange(length, dtype=torch.float64)
    kernel = torch.exp(-((position[:, None] - position) ** 2) / (2 * width**2))
    return kernel / kernel.sum(1, keepdim=True)


def differences(length: int) -> Tensor:
    """``x_{i+1} - x_i``, shape ``(length - 1, length)``."""
    eye = torch.eye(length, dtype=torch.float64)
    return eye[1:] - eye[:-1]


def image_blur(height: int, width: int, spread: float) -> Tensor:
    """Separable Gaussian blur of row-major images, ``(h w, h w)``."""
    return torch.kron(gaussian_blur(height, spread), gaussian_blur(width, spread))


def image_differences(height: int, width: int) -> Tensor:
    """Vertical, then horizontal differences of row-major images."""
    rows = torch.kron(differences(height), torch.eye(width, dtype=torch.float64))
    columns = torch.kron(torch.eye(height, dtype=torch.float64), differences(width))
    return torch.cat([rows, columns])
