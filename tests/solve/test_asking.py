"""A proposer is asked once at every iterate, and never again: what is refused leaves no trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Hostile, Random, Returning
from learnmm.nested import mapped, tensors_of

DTYPE = torch.float64
X0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0], [0.3, -4.0], [1.0, 1.0]], dtype=DTYPE)
FREE = lmm.SolveSettings(projection=None, gtol=0.0)


def rosenbrock(x: Tensor) -> Tensor:
    """The last problem of `X0` is solved from the start."""
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


class Watched(lmm.Proposer):
    """Counts what is asked of another proposer."""

    def __init__(self, inner: lmm.Proposer) -> None:
        super().__init__()
        self.inner = inner
        self.trials, self.reach = inner.trials, inner.reach
        self.curvature_from_steps = inner.curvature_from_steps
        self.begun = self.observed = self.proposed = 0

    def init_memory(self, x: Tensor) -> Any:
        self.begun += 1
        return self.inner.init_memory(x)

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        self.observed += 1
        return self.inner.observe(point, memory)

    def propose(self, point: lmm.Point, memory: Any) -> Any:
        self.proposed += 1
        return self.inner.propose(point, memory)


class Noise(lmm.Proposer):
    """Steps of twelve decades, drawn anew whenever it is asked."""

    trials = 3

    def __init__(self) -> None:
        super().__init__()
        self.inner = Random()

    def init_memory(self, x: Tensor) -> Tensor:
        return self.inner.init_memory(x)

    def observe(self, point: lmm.Point, memory: Tensor) -> Tensor:
        return self.inner.observe(point, memory)

    def propose(self, point: lmm.Point, memory: Tensor) -> lmm.Step:
        return lmm.Step(memory * point.gradient)


PROPOSERS: dict[str, Callable[[], lmm.Proposer]] = {
    "hostile": Hostile,
    "random": Random,
    "noise": Noise,
    "limited-memory": lambda: lmm.LimitedMemory(3),
}
by_proposer = pytest.mark.parametrize("make", PROPOSERS.values(), ids=PROPOSERS)


def solver(proposer: lmm.Proposer) -> lmm.ProjectedMMOptimizer:
    majorant = lmm.majorants.LanczosMajorant(rosenbrock, generator=torch.Generator().manual_seed(0))
    return lmm.ProjectedMMOptimizer(rosenbrock, majorant=majorant, proposer=proposer, settings=FREE)


# --- how often ---------------------------------------------------------------------------------


@by_proposer
@pytest.mark.parametrize("row", [0, 1, 2])
def test_one_problem_asks_once_for_every_iterate(
    make: Callable[[], lmm.Proposer], row: int
) -> None:
    proposer = Watched(make())
    optimizer = solver(proposer)
    state = optimizer.init(X0[row : row + 1])
    iterates, refused = 1, 0
    assert (proposer.begun, proposer.observed, proposer.proposed) == (1, 1, 1)
    for _ in range(40):
        if not bool(state.running):
            break
        moved = not bool(state.asked)
        state, info = optimizer.step(state)
        iterates += moved
        refused += int((~info.accepted).sum())
        assert (proposer.begun, proposer.observed, proposer.proposed) == (1, iterates, iterates)
        assert bool(state.asked) == (not bool(info.accepted))
    assert refused > 0
    assert iterates in (int(state.tally.accepted), 1 + int(state.tally.accepted))


def test_a_problem_at_its_wits_end_asks_once() -> None:
    """The gradient points upwards: whatever is tried is refused."""

    class Deceitful(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation((x * x).sum(1), -2 * x)

    proposer = Watched(lmm.LimitedMemory())
    result = lmm.minimize(
        Deceitful(), X0[:1], majorant=lmm.majorants.LipschitzMajorant(2.0), proposer=proposer
    )
    assert int(result.certificate.rejected) > 30
    assert (proposer.observed, proposer.proposed) == (1, 1)


def test_nobody_is_asked_where_all_retry_or_have_stopped() -> None:
    proposer = Watched(Returning(lambda point: lmm.Step(-point.gradient)))
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.zeros(3, 2)),
        proposer=proposer,
        majorant=lmm.majorants.LipschitzMajorant(9.0),
    )
    state = optimizer.init(torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]]))
    state, info = optimizer.step(state)
    assert not info.accepted.any()
    state, info = optimizer.step(state)  # the majorant's own
    assert info.accepted.tolist() == [False, True, True]
    assert proposer.proposed == 1
    optimizer.step(state)
    assert proposer.proposed == 2


# --- what a retry keeps ------------------------------------------------------------------------


@by_proposer
def test_who_retries_keeps_its_proposal_and_its_memory(make: Callable[[], lmm.Proposer]) -> None:
    """Bit by bit, while its neighbours are asked; and so does who has stopped."""
    proposer = Watched(make())
    optimizer = solver(proposer)
    state = optimizer.init(X0)
    calls, mixed = 1, 0
    for _ in range(40):
        following, _ = optimizer.step(state)
        same = state.asked | ~state.running
        calls += not bool(same.all())
        mixed += bool((state.asked & state.running).any()) and not bool(same.all())
        assert (proposer.observed, proposer.proposed) == (calls, calls)
        for name in ("proposal", "proposer_memory"):
            before, after = getattr(state, name), getattr(following, name)
            for old, new in zip(tensors_of(before), tensors_of(after), strict=True):
                assert torch.equal(old[same].nan_to_num(), new[same].nan_to_num()), name
        state = following
    assert mixed > 0


@pytest.mark.parametrize("trials", [1, 2, 4])
def test_a_retry_tries_what_was_proposed_and_shorter(trials: int) -> None:
    """What would be drawn anew would point elsewhere."""
    proposer = Noise()
    proposer.trials = trials
    optimizer = solver(proposer)
    state = optimizer.init(X0[:3])
    tried = 0
    for _ in range(60):
        number = state.trial
        following, info = optimizer.step(state)
        assert torch.equal(info.proposed, state.running & (number < trials))
        proposal = following.proposal
        assert proposal is not None
        lengths = state.shortening * proposal.step.norm(dim=1)
        torch.testing.assert_close(
            info.step_norm[info.proposed], lengths[info.proposed], rtol=1e-12, atol=0
        )
        tried += int((info.proposed & (number > 0)).sum())
        state = following
    assert (tried > 0) == (trials > 1)


class Counting(lmm.Proposer):
    """Counts iterates; the second problem climbs, the others descend."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def init_memory(self, x: Tensor) -> Any:
        return {"count": torch.zeros_like(x[:, 0]), "seen": [torch.zeros_like(x)]}

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        count, seen = memory["count"], memory["seen"][0]
        if self.in_place:
            count.add_(1)
            seen.copy_(point.x)
            return memory
        return {"count": count + 1, "seen": [point.x]}

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Step:
        signs = torch.ones_like(point.x)
        signs[1] = -1
        return lmm.Step(0.1 * signs * point.gradient)


class Following:
    """``2 I``, and how many steps it has seen."""

    def __init__(self, in_place: bool) -> None:
        self.in_place = in_place

    def init_memory(self, x: Tensor, gradient: Tensor) -> Tensor:
        return torch.zeros_like(x[:, 0])

    def observe(self, move: Tensor, change: Tensor, memory: Tensor) -> Tensor:
        return memory.add_(1) if self.in_place else memory + 1

    def __call__(self, x: Tensor, aux: Any = None, memory: Any = None) -> lmm.Bound:
        return lmm.majorants.LipschitzMajorant(2.0)(x)


@pytest.mark.parametrize("in_place", [False, True])
def test_what_is_refused_is_observed_by_nobody(in_place: bool) -> None:
    """Neither an earlier state nor the problems that retry see what an observer writes in place."""
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.zeros(3, 2, dtype=DTYPE)),
        majorant=Following(in_place),
        proposer=Counting(in_place),
        settings=lmm.SolveSettings(gtol=0),
    )
    states = [optimizer.init(X0[:3])]
    copies = [mapped(Tensor.clone, states[0])]
    accepted = []
    for _ in range(4):
        state, info = optimizer.step(states[-1])
        again, _ = optimizer.step(states[-1])
        for one, other in zip(tensors_of(state), tensors_of(again), strict=True):
            assert torch.equal(one, other)
        states.append(state)
        copies.append(mapped(Tensor.clone, state))
        accepted.append(info.accepted.tolist())
    assert accepted == [[True, False, True], [True, True, True]] * 2
    counts = [state.proposer_memory["count"].tolist() for state in states]
    assert counts == [[1, 1, 1], [1, 1, 1], [2, 1, 2], [3, 2, 3], [4, 2, 4]]
    steps = [state.majorant_memory.tolist() for state in states]
    assert steps == [[0, 0, 0], [1, 0, 1], [2, 1, 2], [3, 1, 3], [4, 2, 4]]
    for state, copy in zip(states, copies, strict=True):
        for mine, its in zip(tensors_of(state), tensors_of(copy), strict=True):
            assert torch.equal(mine, its)
    # What was seen last is the iterate before the last step, or the one that refuses.
    for before, after in itertools.pairwise(states):
        assert torch.equal(after.proposer_memory["seen"][0], before.x)
