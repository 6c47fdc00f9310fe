"""What a solver learns is what it holds: networks that are named, and a word about the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm

DTYPE = torch.float64
MODES = ["unroll", "checkpoint", "truncated", "implicit"]
Y = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
A = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=DTYPE)


def network() -> nn.Sequential:
    torch.manual_seed(2)
    layers = nn.Conv1d(6, 2, 3, padding=1), lmm.SoftReLU(0.3), nn.Conv1d(2, 6, 3, padding=1)
    return nn.Sequential(*layers).to(DTYPE)


PRIOR = network()


def energy_of(net: nn.Module, y: Tensor) -> lmm.Atom:
    return lmm.CosineDistance(y) @ A + 0.5 * lmm.AutoencoderPrior(net)


def start(y: Tensor) -> Tensor:
    return A.T @ y


class Holder:
    """No module, but it has one."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def energy(self, y: Tensor) -> lmm.Atom:
        return energy_of(self.net, y)


def closing(net: nn.Module) -> Callable[[Tensor], lmm.Atom]:
    return lambda y: energy_of(net, y)


def default(net: nn.Module) -> Callable[[Tensor], lmm.Atom]:
    def energy(y: Tensor, net: nn.Module = net) -> lmm.Atom:
        return energy_of(net, y)

    return energy


HIDING: dict[str, Callable[[nn.Module], Any]] = {
    "closure": closing,
    "default": default,
    "partial": lambda net: partial(energy_of, net),
    "method": lambda net: Holder(net).energy,
    "global": lambda net: lambda y: energy_of(PRIOR, y),
}


def solver(energy: Any, path: str = "unroll", **options: Any) -> lmm.UnrolledMM:
    backward = lmm.Backward(path, window=2 if path == "truncated" else None)
    options = {"start": start, "steps": 3, "backward": backward} | options
    return lmm.UnrolledMM(energy, lmm.proposers.DualConvLSTM(6, 4).to(DTYPE), **options)


def said(unrolled: lmm.UnrolledMM, *args: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        unrolled(*args)
    return [str(w.message) for w in caught if "gradients reach" in str(w.message)]


@pytest.mark.parametrize("backward", MODES)
@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING)
def test_a_hidden_network_is_named(hide: Callable[[nn.Module], Any], backward: str) -> None:
    unrolled = solver(hide(network()), backward)
    (message,) = said(unrolled, Y)
    assert message.startswith("UnrolledMM: gradients reach tensors that are not among its param")
    assert "(4, of shape (" in message
    assert "modules=[network]" in message
    assert said(unrolled, Y) == []  # once


@pytest.mark.parametrize("backward", MODES)
@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING)
def test_a_network_that_is_given_learns(hide: Callable[[nn.Module], Any], backward: str) -> None:
    net = PRIOR if hide is HIDING["global"] else network()
    unrolled = solver(hide(net), backward, modules=[net])
    assert said(unrolled, Y) == []
    held = {id(p) for p in unrolled.parameters()}
    assert {id(p) for p in net.parameters()} <= held
    solved = unrolled(Y)
    gradients = torch.autograd.grad(solved.x.square().sum(), list(net.parameters()))
    assert all(bool((g != 0).any()) for g in gradients)
    assert any(name.startswith("learned.0.") for name in unrolled.state_dict())


def test_one_module_needs_no_list_and_a_module_energy_needs_nothing() -> None:
    class Energy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, y: Tensor) -> lmm.Atom:
            return energy_of(self.net, y)

    net = network()
    assert said(solver(closing(net), modules=net), Y) == []
    assert said(solver(Energy()), Y) == []
    energy = Energy()
    assert said(solver(closing(energy.net), modules=[energy]), Y) == []


def test_networks_of_the_start_and_of_the_majorant_count_too() -> None:
    linear = nn.Linear(5, 5).to(DTYPE)

    def learned_start(y: Tensor) -> Tensor:
        return linear(start(y))

    def energy(y: Tensor) -> lmm.Atom:
        return lmm.least_squares(A, y)

    (message,) = said(solver(energy, start=learned_start), Y)
    assert "(2, of shape (5, 5), (5,))" in message
    assert said(solver(energy, start=learned_start, modules=[linear]), Y) == []
    assert said(solver(energy, start=Linear(linear)), Y) == []

    class Level(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.tensor(30.0, dtype=DTYPE))

        def forward(self, x: Tensor, aux: Any = None) -> lmm.Bound:
            level = self.level.expand(len(x))
            return lmm.Bound(lmm.Kind.ESTIMATE, lmm.curvature.ScalarCurvature(level))

    unrolled = solver(energy, majorant=Level())
    assert said(unrolled, Y) == []
    assert "learned.0.level" in unrolled.state_dict()

    def closing_majorant(x: Tensor, aux: Any = None, of: Level = Level()) -> lmm.Bound:  # noqa: B008
        return of(x)

    (message,) = said(solver(energy, majorant=closing_majorant), Y)
    assert "(1, of shape ())" in message


class Linear(nn.Module):
    """A start that holds its network."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, y: Tensor) -> Tensor:
        return self.linear(start(y))


def test_inputs_and_what_is_frozen_are_no_secret() -> None:
    frozen = network().requires_grad_(False)
    assert said(solver(closing(frozen)), Y) == []
    y = Y.clone().requires_grad_()

    def energy(data: dict[str, Tensor]) -> lmm.Atom:
        return lmm.least_squares(A, data["y"])

    starting = solver(energy, start=lambda data: start(data["y"]))
    assert said(starting, {"y": 2 * y}) == []
    given = solver(energy, start=None)
    x0 = nn.Linear(5, 5).to(DTYPE)(start(Y))
    assert said(given, {"y": 2 * y}, x0) == []
    assert said(given, {"y": y}, x0) == []


def test_without_gradients_nothing_is_said_and_the_next_pass_says_it() -> None:
    unrolled = solver(closing(network()))
    with torch.no_grad():
        assert said(unrolled, Y) == []
    assert len(said(unrolled, Y)) == 1


@pytest.mark.parametrize("modules", [[3], [lambda: None], ["network"], [nn.Parameter(Y)]])
def test_modules_are_modules(modules: list[Any]) -> None:
    name = type(modules[0]).__name__
    with pytest.raises(TypeError, match=f"modules must be nn.Module, got {name}"):
        solver(closing(network()), modules=modules)


class Recordings(torch.utils.data.Dataset[Tensor]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Tensor:
        return torch.randn(4, 5, generator=torch.Generator().manual_seed(i), dtype=DTYPE)


@pytest.mark.parametrize("given", [False, True])
def test_fit_trains_what_is_given_and_speaks_of_the_rest(given: bool) -> None:
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    unrolled = solver(closing(net), modules=[net] if given else [])
    settings = lmm.FitSettings(steps=2, batch_size=3, adam=lmm.AdamSettings(warmup=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lmm.fit(
            unrolled,
            Recordings(),
            lambda solved, y: solved.values[-1].mean(),
            settings,
        )
    changed = [not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True)]
    assert all(changed) if given else not any(changed)
    assert any("gradients reach" in str(w.message) for w in caught) != given


# --- loops of one's own --------------------------------------------------------------------------


def test_a_plain_loop_without_gradients_keeps_no_graph() -> None:
    """As the notes of the optimizer say; with gradients every state holds all steps before it."""
    optimizer = lmm.ProjectedMMOptimizer(
        energy_of(network(), Y), proposer=lmm.proposers.DualConvLSTM(6, 4).to(DTYPE)
    )

    def depth(state: lmm.State) -> int:
        seen, waiting = set(), [t.grad_fn for t in lmm.nested.tensors_of(state)]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                waiting += [parent for parent, _ in node.next_functions]
        return len(seen)

    depths = []
    with torch.no_grad():
        state = optimizer.init(start(Y))
        for _ in range(5):
            state, _ = optimizer.step(state)
            depths.append(depth(state))
    assert depths == [0] * 5
    assert "torch.no_grad()" in (lmm.ProjectedMMOptimizer.__doc__ or "")
