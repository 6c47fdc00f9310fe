"""Layer constants of networks against dense Jacobians and Hessians."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import learnmm as lmm
from learnmm.atoms.activations import bend_of
from learnmm.atoms.networks import (
    conv1d_norm,
    layers_of,
    linear_absolute,
    linear_adjoint,
    linear_norm,
    network_constants,
)

ACTIVATIONS = [lmm.SoftReLU(0.1), nn.Softplus(2.0), nn.Tanh(), nn.Sigmoid()]


def jacobian(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Dense Jacobian at one problem ``x`` of shape ``(1, ...)``."""
    dense = torch.func.jacrev(lambda z: layer(z[None])[0].flatten())(x[0])
    return dense.reshape(dense.shape[0], -1).detach()


@given(
    taps=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    padding=st.integers(0, 4),
    length=st.integers(12, 25),
    seed=st.integers(0, 99),
)
def test_convolution_norm_and_adjoint(taps, stride, dilation, groups, padding, length, seed):
    torch.manual_seed(seed)
    layer = nn.Conv1d(
        4, 6, taps, stride=stride, dilation=dilation, groups=groups, padding=padding
    ).double()
    x = torch.randn(1, 4, length, dtype=torch.float64)
    dense = jacobian(layer, x)
    assert torch.linalg.matrix_norm(dense, 2) <= conv1d_norm(layer)
    v = torch.randn_like(layer(x))
    torch.testing.assert_close(linear_adjoint(layer, v, x).flatten(), dense.mT @ v.flatten())
    torch.testing.assert_close(
        linear_adjoint(layer, v, x, absolute=True).flatten(), dense.abs().mT @ v.flatten()
    )
    torch.testing.assert_close(linear_absolute(layer, x).flatten(), dense.abs() @ x.flatten())


@pytest.mark.parametrize("taps", [1, 2, 3, 7])
def test_convolution_norm_is_nearly_attained_on_long_signals(taps):
    torch.manual_seed(taps)
    layer = nn.Conv1d(3, 3, taps, padding=taps // 2, bias=False).double()
    dense = jacobian(layer, torch.zeros(1, 3, 300, dtype=torch.float64))
    attained = float(torch.linalg.matrix_norm(dense, 2))
    assert attained <= conv1d_norm(layer) <= 1.01 * attained


def test_linear_norm_bounds_the_largest_singular_value_tightly():
    layer = nn.Linear(5, 7).double()
    exact = float(torch.linalg.svdvals(layer.weight.detach())[0])
    assert exact <= linear_norm(layer) <= exact * (1 + 1e-9)


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=lambda layer: type(layer).__name__)
def test_activation_derivatives_and_their_limits(layer):
    z = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    bend = bend_of(layer)
    slope = torch.func.vmap(torch.func.grad(layer))(z)
    second = torch.func.vmap(torch.func.grad(torch.func.grad(layer)))(z)
    torch.testing.assert_close(bend.slope(z), slope)
    torch.testing.assert_close(bend.bend(z), second)
    # The limits hold and are attained: a bound of twice the size would be a waste.
    assert slope.abs().max() <= bend.slope_limit <= 1.01 * slope.abs().max()
    assert second.abs().max() <= bend.bend_limit <= 1.01 * second.abs().max()


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=lambda layer: type(layer).__name__)
def test_network_constants_hold_between_random_points(layer):
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Linear(4, 5), layer, nn.Sequential(nn.Linear(5, 5), layer), nn.Linear(5, 4), layer
    ).double()
    layers = layers_of(network)
    norms = {i: linear_norm(one) for i, one in enumerate(layers) if bend_of(one) is None}
    lipschitz, smoothness = network_constants(layers, norms)
    for _ in range(200):
        a = 3 * torch.randn(1, 4, dtype=torch.float64)
        b = a + 10 ** (-3 * torch.rand(1).double()) * torch.randn_like(a)
        gap = (a - b).norm()
        assert (network(a) - network(b)).norm() <= lipschitz * gap
        difference = jacobian(network, a) - jacobian(network, b)
        assert torch.linalg.matrix_norm(difference, 2) <= smoothness * gap


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.ReLU(), "no bound is known for the layer ReLU.*SoftReLU"),
        (nn.BatchNorm1d(4), "no bound is known for the layer BatchNorm1d"),
        (nn.Conv1d(4, 4, 3, padding=1, padding_mode="reflect"), "padding_mode='reflect'"),
        (nn.Conv2d(4, 4, 3), "no bound is known for the layer Conv2d"),
        (nn.Conv1d(4, 4, 2, padding="same"), "padding='same' needs an odd kernel.*got 2 entries"),
    ],
)
def test_unsupported_layers_are_named(layer, message):
    with pytest.raises(TypeError, match=message):
        lmm.AutoencoderPrior(nn.Sequential(nn.Linear(4, 4), layer))


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan"), float("inf")])
def test_soft_relu_refuses_a_width_without_a_bend(eps):
    with pytest.raises(ValueError, match="eps must be positive and finite"):
        lmm.SoftReLU(eps)
