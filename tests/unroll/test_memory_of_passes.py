"""What a pass keeps for its gradients, and how little checkpoints need."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from unrolling import DTYPE, UNKNOWNS, Energy, data, loss_of, proposing


@pytest.mark.parametrize("steps", [17, 20, 36])
def test_segments_give_the_gradients_of_single_steps(steps: int) -> None:
    energy = Energy()
    y, x0 = data()
    component = proposing("multipliers", energy)
    found = []
    for backward in ("unroll", "checkpoint"):
        solver = lmm.UnrolledMM(energy, component, steps=steps, backward=backward)
        solved = solver(y, x0)
        loss = loss_of(solved) + sum(x.square().sum() for x in solved.iterates)
        parameters = [p for p in solver.parameters() if p.requires_grad]
        found.append((*solved[:2], solved.values, torch.autograd.grad(loss, parameters)))
    torch.testing.assert_close(found[1], found[0])


def test_iterates_can_be_left_out() -> None:
    energy = Energy()
    y, x0 = data()
    whole = lmm.UnrolledMM(energy, steps=4)(y, x0)
    last = lmm.UnrolledMM(energy, steps=4, backward=lmm.Backward(keep_iterates=False))(y, x0)
    assert len(whole.iterates) == 5
    assert len(last.iterates) == 1
    assert torch.equal(last.iterates[0], whole.x)
    assert torch.equal(last.x, whole.x)
    assert torch.equal(last.values, whole.values)


@pytest.fixture
def _nothing_older() -> Iterator[None]:
    """Hide from `_living` what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_nothing_older")
@pytest.mark.parametrize("steps", [5, 20])
def test_checkpointing_holds_iterates_not_activations(steps: int) -> None:
    """What the graph keeps per step is a few arrays of the iterate's size, whatever the network."""
    energy = Energy()
    y, x0 = data(2)
    kept = {}
    for backward in ("unroll", "checkpoint"):
        solver = lmm.UnrolledMM(
            energy,
            lmm.proposers.DualConvLSTM(UNKNOWNS, 32).to(DTYPE),
            steps=steps,
            backward=backward,
        )
        total = 0

        def count(t: Tensor) -> Tensor:
            nonlocal total
            total += t.nbytes
            return t

        if backward == "unroll":
            with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
                solved = solver(y, x0)
            kept[backward] = total
        else:
            before = _living()
            solved = solver(y, x0)
            kept[backward] = _living() - before
        del solved
    assert kept["checkpoint"] < kept["unroll"] / 5


def test_what_decides_and_reports_carries_no_graph() -> None:
    """It would keep arrays of every step alive that no gradient passes through."""
    energy = Energy()
    y, x0 = data()
    optimizer = lmm.UnrolledMM(energy, proposing("multipliers", energy)).optimizer(y)
    state, info = optimizer.step(optimizer.init(x0))
    assert state.x.requires_grad
    assert [name for name, field in info._asdict().items() if field.requires_grad] == ["value"]
    assert not any(t.requires_grad for t in (state.gradient_norm, state.relaxation, *state.tally))


class Watched(nn.Module):
    """An energy that, when switched on, notes how many bytes are alive at some of its passes."""

    def __init__(self, interval: int) -> None:
        super().__init__()
        self.energy = Energy()
        self.energy.network[0].register_forward_hook(self.note)
        self.interval = interval
        self.passes: int | None = None
        self.seen: list[int] = []

    def forward(self, y: Tensor) -> lmm.Atom:
        return self.energy(y)

    def note(self, *_: object) -> None:
        if self.passes is not None:
            self.passes += 1
            if self.passes % self.interval == 0:
                self.seen.append(_living())


@pytest.mark.usefixtures("_nothing_older")
def test_eight_times_the_steps_take_at_most_twice_the_memory() -> None:
    """Forwards and, where saved arrays come back, backwards."""
    peaks = []
    for steps in (10, 80):
        watched = Watched(interval=steps // 3)
        solver = lmm.UnrolledMM(
            watched,
            lmm.proposers.DualConvLSTM(UNKNOWNS, 4).to(DTYPE),
            steps=steps,
            backward=lmm.Backward("checkpoint", keep_iterates=False),
        )
        y, x0 = data(2)
        before = _living()
        solved = solver(y, x0)
        watched.seen.append(_living())
        watched.passes = 0
        solved.values[-1].sum().backward()
        assert len(watched.seen) > 3
        peaks.append(max(watched.seen) - before)
    assert peaks[1] < 2 * peaks[0]


def _living() -> int:
    """Bytes of all tensors alive, each array once."""
    gc.collect()
    tensors = [t for t in gc.get_objects() if type(t) is Tensor]
    # Of random generators, checkpoints keep the state: 5 kB per step, whatever the problem.
    arrays = [t.untyped_storage() for t in tensors if t.dtype is not torch.uint8]
    return sum({array.data_ptr(): array.nbytes() for array in arrays}.values())


def test_graph_is_freed_with_the_result() -> None:
    energy = Energy()
    y, x0 = data()
    solved = lmm.UnrolledMM(energy, steps=3)(y, x0)
    watched = weakref.ref(solved.x)
    del solved
    gc.collect()
    assert watched() is None
