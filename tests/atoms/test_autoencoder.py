"""The autoencoder prior: gradients, bounds of every kind, one network pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import learnmm as lmm
from learnmm.atoms import AutoencoderBound
from learnmm.checks import assert_majorant

MODES = list(AutoencoderBound)


def convolutional(activation: nn.Module, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1), activation,
        nn.Conv1d(4, 4, 3, padding="same", dilation=2), activation,
        nn.Conv1d(4, 3, 3, padding=1),
    ).double().requires_grad_(False)  # fmt: skip


NETWORKS = {
    "soft-relu": convolutional(lmm.SoftReLU(0.1)),
    "tanh": convolutional(nn.Tanh(), 1),
    "softplus-end": nn.Sequential(*convolutional(nn.Softplus(), 2), nn.Softplus()),
    "linear": nn.Sequential(nn.Linear(5, 2), nn.Sigmoid(), nn.Linear(2, 5)).double(),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_bounds_hold_and_gradients_agree(name, mode, floor):
    prior = lmm.AutoencoderPrior(NETWORKS[name], mode, floor)
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    evaluation = prior.evaluate(x)
    expected = torch.func.grad(lambda z: prior(z).sum())(x)
    torch.testing.assert_close(evaluation.gradient, expected)
    torch.testing.assert_close(evaluation.value, prior(x))
    output = NETWORKS[name](x).flatten(1)
    if floor == 0:
        plain = 1 - torch.cosine_similarity(x.flatten(1), output)
        torch.testing.assert_close(evaluation.value, plain)
    for scale in (1e-2, 1.0, 1e2):
        assert_majorant(None, prior, scale * x, search_steps=25)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_entry_of_the_elementwise_bound_exceeds_the_scalar_one(name):
    x = torch.randn(64, 3, 5, dtype=torch.float64)
    x = x * 10 ** torch.linspace(-2, 2, 64, dtype=torch.float64)[:, None, None]
    scalar = lmm.AutoencoderPrior(NETWORKS[name], "scalar").bound(x).curvature.largest()
    bound = lmm.AutoencoderPrior(NETWORKS[name], "elementwise").bound(x)
    assert bool((bound.curvature.largest() <= scalar * (1 + 1e-14)).all())


def test_elementwise_bound_sees_where_the_network_is_curved():
    """A bend behind one channel of two that do not mix: the other channel keeps what is its own."""
    network = nn.Conv1d(2, 2, 1, groups=2, bias=False).double().requires_grad_(False)
    network.weight.copy_(torch.tensor([3.0, 0.1])[:, None, None])
    x = torch.randn(8, 2, 5, dtype=torch.float64)
    bound = lmm.AutoencoderPrior(network, "elementwise").bound(x)
    scalar = lmm.AutoencoderPrior(network, "scalar").bound(x).curvature.largest()
    entries = bound.curvature.diagonal(x)
    torch.testing.assert_close(entries[:, 0], scalar[:, None].expand(8, 5))
    assert bool((entries[:, 1] < entries[:, 0] / 2).all())
    assert_majorant(None, lmm.AutoencoderPrior(network, "elementwise"), x)


def test_ten_thousand_points_against_the_global_bound():
    """Gaussian and heavy-tailed candidates, many of them next to the singularity at zero."""
    prior = lmm.AutoencoderPrior(NETWORKS["tanh"], "global")
    torch.manual_seed(3)
    x = torch.randn(10_000, 3, 5, dtype=torch.float64)
    z = torch.randn_like(x) * 10 ** (6 * torch.rand(10_000, 1, 1, dtype=torch.float64) - 4)
    z = torch.where(torch.rand(10_000, 1, 1) < 0.5, z, x + z)
    value, gradient, aux = prior.evaluate(x)
    curvature = prior.bound(x, aux).curvature
    model = value + ((z - x) * gradient).sum((1, 2)) + curvature.quad(z - x) / 2
    assert bool((prior(z) <= model * (1 + 1e-12)).all())


def test_a_bound_fifty_times_smaller_is_caught():
    prior = lmm.AutoencoderPrior(NETWORKS["soft-relu"], "scalar")
    x = torch.randn(64, 3, 5, dtype=torch.float64)

    def shrunk(x: torch.Tensor, aux: object = None) -> lmm.Bound:
        return lmm.Bound(lmm.Kind.POINTWISE, prior.bound(x).curvature.scaled(0.02))

    with pytest.raises(AssertionError, match="positive semidefinite"):
        assert_majorant(shrunk, prior, x)


@pytest.mark.parametrize("mode", MODES)
def test_one_network_pass_per_step(mode):
    network = convolutional(lmm.SoftReLU(0.1))
    energy = lmm.CosineDistance(torch.randn(2, 3, 5, dtype=torch.float64))
    energy = energy + lmm.AutoencoderPrior(network, mode)
    optimizer = lmm.ProjectedMMOptimizer(energy)
    state = optimizer.init(torch.randn(2, 3, 5, dtype=torch.float64))
    passes = []
    network[0].register_forward_hook(lambda *_: passes.append(1))
    for _ in range(5):
        state, _ = optimizer.step(state)
    assert len(passes) == 5


def test_changed_weights_change_the_bound():
    network = convolutional(nn.Tanh())
    prior = lmm.AutoencoderPrior(network, "global")
    before = prior.constants
    network[0].weight.mul_(3)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    prior.check(x)
    assert prior.constants.lipschitz == pytest.approx(3 * before.lipschitz)
    assert_majorant(None, prior, x)


def test_a_floor_is_not_negative():
    with pytest.raises(
        ValueError, match="AutoencoderPrior: floor must be non-negative and finite, got -1"
    ):
        lmm.AutoencoderPrior(nn.Linear(3, 3), floor=-1)


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (nn.Linear(3, 2), torch.ones(1, 3), r"\(1, 3\) became \(1, 2\)"),
        (nn.Linear(3, 3), torch.ones(1, 3).double(), "weights are, torch.float32.*float64"),
        (nn.Linear(3, 3), torch.zeros(1, 3), "x vanishes for problems \\[0\\]"),
        (nn.Linear(3, 3, bias=False).apply(lambda m: nn.init.zeros_(m.weight)), torch.ones(1, 3),
         "Phi\\(x\\) vanishes"),
    ],
)  # fmt: skip
def test_unusable_starts(network, x, message):
    with pytest.raises(ValueError, match=message):
        lmm.minimize(lmm.AutoencoderPrior(network), x)
