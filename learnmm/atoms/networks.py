"""Layers of a network as bounds see them: norms, adjoints, and constants of the whole."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learnmm.atoms.activations import bend_of

ROUNDING_MARGIN = 1 + 1e-10
"""On computed norms: far above the rounding error of float64, far below anything that matters."""


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Flatten nested ``nn.Sequential`` containers, refusing what no bound is known for.

    Raises
    ------
    TypeError
        For an unsupported layer, naming it and what to do.
    """
    if isinstance(network, nn.Sequential):
        return [layer for child in network for layer in layers_of(child)]
    if isinstance(network, nn.Identity):
        return []
    if isinstance(network, nn.Conv1d):
        if network.padding_mode != "zeros":
            raise TypeError(
                f"Conv1d with padding_mode={network.padding_mode!r} has no certified norm here; "
                "use padding_mode='zeros'"
            )
        _padding(network)  # or an error, now rather than in the first pass back
        return [network]
    if isinstance(network, nn.Linear) or bend_of(network) is not None:
        return [network]
    raise TypeError(
        f"no bound is known for the layer {type(network).__name__}; supported are Sequential, "
        "Conv1d, Linear, SoftReLU, Softplus, Tanh, Sigmoid and Identity. Replace it (ReLU by "
        "SoftReLU, which is twice differentiable), or pass the objective as a plain callable, "
        "whose curvature is measured"
    )


def linear_norm(layer: nn.Module) -> float:
    """Certified upper bound of the spectral norm of a linear layer (the bias does not enter)."""
    if isinstance(layer, nn.Conv1d):
        return conv1d_norm(layer)
    weight = layer.get_parameter("weight").detach().double()
    return float(torch.linalg.matrix_norm(weight, 2)) * ROUNDING_MARGIN


def conv1d_norm(layer: nn.Conv1d, oversampling: int = 32) -> float:
    """Certified upper bound of the norm of a zero-padded convolution, for every signal length.

    Zero padding, cropping and striding only compress the convolution on the integers, whose norm
    is the largest singular value of the symbol ``K(w) = sum_k W_k exp(i w k)`` over frequencies.
    For unit ``u, v`` the function ``Re u* K(w) v`` is a trigonometric polynomial of degree ``d``
    (half the kernel's extent, after a shift of phase), so sampling it at ``N > 2 d`` equispaced
    points loses at most the factor ``cos(pi d / N)`` (Ehlich & Zeller 1964).

    Parameters
    ----------
    layer : nn.Conv1d
        Any kernel, stride, dilation and groups; zero padding.
    oversampling : int
        ``N / d``; 32 costs 0.5 %.
    """
    weight = layer.weight.detach().double()
    out_channels, in_group, taps = weight.shape
    groups = layer.groups
    kernels = weight.reshape(groups, out_channels // groups, in_group, taps)
    # Dilation only relabels the frequencies. A half-integer degree is rounded up: even kernels.
    degree = taps // 2
    points = max(1, oversampling * degree)
    # Conjugate symmetry: half of the circle holds every singular value.
    frequency = 2 * math.pi * torch.arange(points // 2 + 1, dtype=torch.float64) / points
    phase = frequency[:, None] * torch.arange(taps, dtype=torch.float64)
    waves = torch.polar(torch.ones_like(phase), phase).to(weight.device)
    symbol = torch.einsum("fk,goik->fgoi", waves, kernels.to(waves.dtype))
    if symbol.shape[-1] > symbol.shape[-2]:
        symbol = symbol.mH
    gram = symbol.mH @ symbol
    largest = float(torch.linalg.eigvalsh(gram)[..., -1].max().clamp(min=0).sqrt())
    return largest / math.cos(math.pi * degree / points) * ROUNDING_MARGIN


def linear_adjoint(layer: nn.Module, v: Tensor, like: Tensor, *, absolute: bool = False) -> Tensor:
    """Adjoint of a linear layer's weight (or of its absolute value) applied to ``v``.

    Parameters
    ----------
    layer : nn.Conv1d or nn.Linear
        The layer.
    v : Tensor
        In the layer's output space.
    like : Tensor
        Any tensor of the layer's input shape.
    absolute : bool
        Use ``|W|``.
    """
    signed = layer.get_parameter("weight")
    weight = signed.abs() if absolute else signed
    if not isinstance(layer, nn.Conv1d):
        return v @ weight
    stride, padding, dilation = layer.stride[0], _padding(layer), layer.dilation[0]
    reach = (v.shape[-1] - 1) * stride - 2 * padding + dilation * (weight.shape[-1] - 1) + 1
    return F.conv_transpose1d(
        v,
        weight,
        stride=stride,
        padding=padding,
        output_padding=like.shape[-1] - reach,
        groups=layer.groups,
        dilation=dilation,
    )


def linear_absolute(layer: nn.Module, v: Tensor) -> Tensor:
    """``|W| v`` without bias."""
    weight = layer.get_parameter("weight").abs()
    if not isinstance(layer, nn.Conv1d):
        return v @ weight.mT
    return F.conv1d(v, weight, None, layer.stride, _padding(layer), layer.dilation, layer.groups)


def _padding(layer: nn.Conv1d) -> int:
    if isinstance(layer.padding, str):
        if layer.padding == "valid":
            return 0
        extent = layer.dilation[0] * (layer.kernel_size[0] - 1)
        if extent % 2:
            raise TypeError(
                "Conv1d with padding='same' needs an odd kernel here, got "
                f"{layer.kernel_size[0]} entries; pad explicitly"
            )
        return extent // 2
    return int(layer.padding[0])


class Constants(NamedTuple):
    """Lipschitz constants of a network and of its Jacobian, everywhere."""

    lipschitz: float
    smoothness: float


def network_constants(layers: list[nn.Module], norms: dict[int, float]) -> Constants:
    """Compose ``(L, M)`` layer by layer.

    A linear layer maps ``(L, M)`` to ``(|W| L, |W| M)``; an activation with ``|s'| <= a`` and
    ``|s''| <= m`` maps it to ``(a L, a M + m L^2)``.

    Parameters
    ----------
    layers : list of nn.Module
        From :func:`layers_of`.
    norms : dict
        Certified norm by layer index.
    """
    lipschitz, smoothness = 1.0, 0.0
    for index, layer in enumerate(layers):
        activation = bend_of(layer)
        if activation is None:
            lipschitz, smoothness = norms[index] * lipschitz, norms[index] * smoothness
        else:
            smoothness = activation.slope_limit * smoothness + activation.bend_limit * lipschitz**2
            lipschitz = activation.slope_limit * lipschitz
    return Constants(lipschitz, smoothness)
