"""Steps under torch.compile, torch.func.vmap and another default device."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from catalogue import ATOMS, PROPOSERS, AtomCase, Draw, ProposerCase
from learnmm.nested import tensors_of
from learnmm.truth import holds

DATA = Draw(3, torch.float64)
Step = Callable[[lmm.State], tuple[lmm.State, lmm.StepInfo]]


def valley(x: Tensor) -> Tensor:
    """A plain callable."""
    return 10 * (x[:, 1:] - x[:, :-1] ** 2).square().sum(1) + (1 - x).square().sum(1)


def of_atom(case: AtomCase) -> lmm.ProjectedMMOptimizer:
    proposer = lmm.proposers.Constant(initial=0.6).double()
    return lmm.ProjectedMMOptimizer(case.build(DATA), proposer=proposer)


def of_proposer(case: ProposerCase) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
    torch.manual_seed(0)
    fit = lmm.least_squares(DATA.matrix(), DATA.target(4, *case.shape[1:]))
    optimizer = lmm.ProjectedMMOptimizer(fit, proposer=case.build(torch.float64))
    return optimizer, DATA.point(*case.shape)


MAJORANTS: dict[str, lmm.Majorant | None] = {
    "lanczos": None,
    "power-iteration": lmm.majorants.PowerIterationMajorant(valley),
    "lipschitz": lmm.majorants.LipschitzMajorant(300.0),
    "secant": lmm.majorants.SecantMajorant(valley),
}


def of_callable(name: str) -> lmm.ProjectedMMOptimizer:
    torch.manual_seed(0)
    return lmm.ProjectedMMOptimizer(
        valley,
        majorant=MAJORANTS[name],
        proposer=lmm.proposers.CoordinatewiseLSTM(4).double(),
        settings=lmm.SolveSettings(gtol=0),
    )


def assert_same(one: Any, other: Any) -> None:
    pairs = itertools.zip_longest(tensors_of(one), tensors_of(other))
    for a, b in pairs:
        torch.testing.assert_close(a, b, equal_nan=True)


def compiled(optimizer: lmm.ProjectedMMOptimizer, backend: str) -> Step:
    """A compiled step; a graph break would raise."""
    torch.compiler.reset()
    step: Step = torch.compile(optimizer.step, fullgraph=True, backend=backend)
    return step


# --- one graph -------------------------------------------------------------------------------


def test_a_compiled_run_compiles_once_and_takes_the_same_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.compiler.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))

    def alone(x: Tensor) -> Tensor:
        return valley(x[None])[0]

    x0 = DATA.point()
    for fun, start in ((valley, x0), (alone, x0[0])):
        optimizer = lmm.ProjectedMMOptimizer(
            fun, proposer=lmm.LimitedMemory(), settings=lmm.SolveSettings(max_iter=40)
        )
        plain = optimizer.minimize(start)
        assert not graphs
        for _ in range(3):
            fast = optimizer.minimize(start, compiled=True)
            assert len(graphs) == 1
            torch.testing.assert_close(fast.x, plain.x)
            assert torch.equal(fast.iterations, plain.iterations)
        graphs.clear()


def test_more_optimizers_compile_than_torch_lets_one_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit, 8 unless set otherwise as it is here, is that of each of them."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    kept = []  # torch forgets what it compiled for those that are gone
    with torch._dynamo.config.patch(recompile_limit=2):
        for bump in (torch.sin, torch.cos, torch.tanh, torch.atan):
            optimizer = lmm.ProjectedMMOptimizer(
                lambda x, f=bump: f(x).sum(1) + valley(x),
                proposer=lmm.LimitedMemory(2),
                settings=lmm.SolveSettings(max_iter=2),
            )
            optimizer.minimize(DATA.point(), compiled=True)
            kept.append(optimizer)


@torch.no_grad()
def assert_solves_in_one_graph(optimizer: lmm.ProjectedMMOptimizer, x0: Tensor) -> None:
    state = optimizer.init(x0)
    step = compiled(optimizer, "eager")
    for seed in range(2):
        torch.manual_seed(seed)
        mine = optimizer.step(state)
        torch.manual_seed(seed)
        assert_same(step(state), mine)
        state = mine[0]


@pytest.mark.parametrize(
    "case", [case for case in ATOMS if case.name != "huber-sparse"], ids=lambda case: case.name
)
@torch.no_grad()
def test_what_a_step_asks_of_an_atom_is_one_graph(case: AtomCase) -> None:
    """The rest of a step is the same for all of them."""
    atom, x = case.build(DATA), case.point(DATA)

    def asked(x: Tensor) -> tuple[Tensor, ...]:
        there = atom.evaluate(x)
        bound = atom.bound(x, there.aux)
        curvature = bound.relaxed(torch.full_like(there.value, 0.5))
        own = curvature.solve(there.gradient)
        return there.value, there.gradient, own, curvature.quad(own)

    expected = asked(x)  # maps decompose their matrix once, before the first step
    torch.compiler.reset()
    assert_same(torch.compile(asked, fullgraph=True, backend="eager")(x), expected)


@pytest.mark.parametrize("name", ["cosine-uniform", "sum-mixed"])
def test_a_step_on_an_atom_is_one_graph(name: str) -> None:
    (case,) = (case for case in ATOMS if case.name == name)
    assert_solves_in_one_graph(of_atom(case), case.point(DATA))


def test_a_sparse_matrix_does_not_compile() -> None:
    """torch.compile traces no CSR tensors; the day it does, the exception above can go."""
    (case,) = (case for case in ATOMS if case.name == "huber-sparse")
    optimizer = of_atom(case)
    state = optimizer.init(case.point(DATA))
    with pytest.raises(torch._dynamo.exc.TorchDynamoException), torch.no_grad():
        compiled(optimizer, "eager")(state)


@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
def test_a_step_with_a_proposer_is_one_graph(case: ProposerCase) -> None:
    assert_solves_in_one_graph(*of_proposer(case))


@pytest.mark.parametrize("name", MAJORANTS)
def test_a_step_on_a_callable_is_one_graph(name: str) -> None:
    assert_solves_in_one_graph(of_callable(name), DATA.point())


def test_a_generator_does_not_compile() -> None:
    majorant = lmm.majorants.PowerIterationMajorant(valley, generator=torch.Generator())
    optimizer = lmm.ProjectedMMOptimizer(valley, majorant=majorant)
    state = optimizer.init(DATA.point())
    with pytest.raises(Exception, match="Generator"):
        compiled(optimizer, "eager")(state)


def gradients(optimizer: lmm.ProjectedMMOptimizer, step: Step, x0: Tensor) -> tuple[Any, ...]:
    """Loss after three steps, and its gradients in all parameters."""
    assert optimizer.proposer is not None
    torch.manual_seed(1)
    # From a state that carries gradients to others: one graph serves them all.
    state, _ = optimizer.step(optimizer.init(x0))
    for _ in range(2):
        state, _ = step(state)
    loss = state.value.sum() + state.x.square().sum()
    return loss.detach(), torch.autograd.grad(loss, list(optimizer.proposer.parameters()))


def assert_unrolls_in_one_graph(
    optimizer: lmm.ProjectedMMOptimizer, x0: Tensor, backend: str = "aot_eager"
) -> None:
    mine = gradients(optimizer, optimizer.step, x0)
    assert any(bool((g != 0).any()) for g in mine[1])
    assert_same(gradients(optimizer, compiled(optimizer, backend), x0), mine)


def test_a_graph_carries_gradients_through_an_atom() -> None:
    (case,) = (case for case in ATOMS if case.name == "autoencoder-elementwise")
    assert_unrolls_in_one_graph(of_atom(case), case.point(DATA))


def test_a_graph_carries_gradients_through_a_proposer() -> None:
    (case,) = (case for case in PROPOSERS if case.name == "unprojected-damped")
    assert_unrolls_in_one_graph(*of_proposer(case))


def test_a_graph_carries_gradients_through_a_callable() -> None:
    assert_unrolls_in_one_graph(of_callable("lanczos"), DATA.point())


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor compiles with g++, which is missing")
def test_inductor_gives_the_same_steps_and_gradients() -> None:
    (case,) = (case for case in ATOMS if case.name == "quadratic")
    assert_unrolls_in_one_graph(of_atom(case), case.point(DATA), backend="inductor")


def test_one_compilation_serves_every_batch() -> None:
    """A new objective of the same structure, a new optimizer: the graph stays."""
    graphs = 0

    def backend(graph: Any, inputs: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch.compiler.reset()
    step = torch.compile(lmm.ProjectedMMOptimizer.step, fullgraph=True, backend=backend)
    matrix = lmm.linear.MatrixMap(DATA.matrix())
    proposer = lmm.proposers.CoordinatewiseLSTM(4).double()
    with torch.no_grad():
        for seed in range(3):
            draw = Draw(3, torch.float64, seed=seed)
            energy = lmm.CosineDistance(draw.target(4)) @ matrix + lmm.Quadratic(draw.target())
            optimizer = lmm.ProjectedMMOptimizer(energy, proposer=proposer)
            state = optimizer.init(draw.point())
            for _ in range(3):
                expected = optimizer.step(state)
                assert_same(step(optimizer, state), expected)
                state = expected[0]
    assert graphs == 1


# --- many settings at once -------------------------------------------------------------------


def solve(optimizer: lmm.ProjectedMMOptimizer, x0: Tensor, steps: int = 3) -> tuple[Tensor, ...]:
    state = optimizer.init(x0)
    for _ in range(steps):
        state, _ = optimizer.step(state)
    return state.x, state.value, state.relaxation, state.status


@torch.no_grad()
def assert_maps(run: Callable[..., tuple[Tensor, ...]], *settings: Any) -> None:
    """`vmap` over the first dimension, of tensors or dictionaries, gives what a loop gives."""
    mapped = torch.func.vmap(run)(*settings)

    def row(setting: Any, i: int) -> Any:
        if isinstance(setting, Tensor):
            return setting[i]
        return {name: tensor[i] for name, tensor in setting.items()}

    count = len(next(iter(settings[0].values())) if isinstance(settings[0], dict) else settings[0])
    rows = [run(*(row(setting, i) for setting in settings)) for i in range(count)]
    expected = [torch.stack(column) for column in zip(*rows, strict=True)]
    assert not torch.equal(expected[0][0], expected[0][1])
    assert_same(mapped, tuple(expected))


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_steps_map_over_multipliers_and_relaxations(case: AtomCase) -> None:
    optimizer = of_atom(case)
    start = optimizer.init(case.point(DATA))
    assert optimizer.proposer is not None
    step = Stepping(optimizer, optimizer.proposer)

    def run(multiplier: Tensor, relaxation: Tensor) -> tuple[Tensor, ...]:
        state = start._replace(relaxation=relaxation.expand(3))
        weights = {"proposer.multipliers": multiplier}
        for _ in range(3):
            state, info = torch.func.functional_call(step, weights, (state,))
        return state.x, state.value, state.relaxation, info.accepted

    # None is 1, by which a quadratic is solved at once: rounding would decide what comes after.
    factors = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    assert_maps(run, factors, factors + 0.5)


class Stepping(nn.Module):
    """A step as a module, for `functional_call`."""

    def __init__(self, optimizer: lmm.ProjectedMMOptimizer, proposer: nn.Module) -> None:
        super().__init__()
        self.proposer = proposer
        self.optimizer = optimizer

    def forward(self, state: lmm.State) -> tuple[lmm.State, lmm.StepInfo]:
        return self.optimizer.step(state)


def test_solves_map_over_weights_and_targets() -> None:
    """Objective, checks of the start and steps: everything inside of vmap."""

    matrix, mean, x0 = DATA.matrix(), DATA.target(), DATA.point()

    def run(weight: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        energy = lmm.CosineDistance(y) @ matrix + weight * lmm.Quadratic(mean, weight + 1)
        return solve(lmm.ProjectedMMOptimizer(energy), x0)

    targets = torch.stack([Draw(3, torch.float64, seed).target(4) for seed in range(3)])
    assert_maps(run, torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64), targets)


def test_solves_of_callables_map_over_weights() -> None:
    x0 = DATA.point()

    def run(weight: Tensor) -> tuple[Tensor, ...]:
        majorant = lmm.majorants.LipschitzMajorant(300.0)
        optimizer = lmm.ProjectedMMOptimizer(lambda x: weight * valley(x), majorant=majorant)
        return solve(optimizer, x0)

    assert_maps(run, torch.tensor([0.1, 1.0], dtype=torch.float64))


@pytest.mark.parametrize(
    "case",
    [case for case in PROPOSERS if list(case.build(torch.float64).parameters())],
    ids=lambda case: case.name,
)
def test_steps_map_over_an_ensemble_of_proposers(case: ProposerCase) -> None:
    """On a valley: a quadratic would be solved by what `init` asks for."""

    def bent(x: Tensor) -> Tensor:
        return valley(x.flatten(1))

    proposer, x0 = (of := of_proposer(case))[0].proposer, of[1]
    majorant = lmm.majorants.LipschitzMajorant(300.0)
    optimizer = lmm.ProjectedMMOptimizer(bent, majorant=majorant, proposer=proposer)
    members = [optimizer.proposer]
    for seed in (1, 2):
        torch.manual_seed(seed)
        members.append(case.build(torch.float64))
    for factor, member in zip((0.3, 0.6, 0.9), members, strict=True):
        for weight in member.parameters():
            # Not scaled alone: of a pretrained rule most weights are zero.
            weight.data = factor * weight.data + 0.1 * torch.randn_like(weight)
    parameters, buffers = torch.func.stack_module_state(members)
    step = Stepping(optimizer, members[0])

    def run(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, ...]:
        state = optimizer.init(x0)
        named = {f"proposer.{name}": t for name, t in (parameters | buffers).items()}
        for _ in range(6):  # the first proposal is that of `init`, and may be refused
            state, _ = torch.func.functional_call(step, named, (state,))
        return state.x, state.value

    assert_maps(run, parameters, buffers)


def test_misuse_is_still_seen_where_values_are() -> None:
    with pytest.raises(ValueError, match="weight must be positive"):
        lmm.Quadratic(torch.zeros(2, 3)) * torch.tensor([1.0, -1.0])
    with pytest.raises(RuntimeError, match="ambiguous"):
        holds(torch.tensor([True, False]))


# --- other devices ---------------------------------------------------------------------------

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_steps_on_a_device_are_those_of_the_cpu(case: AtomCase, device: str) -> None:
    """Every tensor of a solve lives where the data does, whatever the default device is."""
    here = of_atom(case)
    there = lmm.ProjectedMMOptimizer(
        case.build(Draw(3, torch.float64, device=device)),
        proposer=here.proposer.to(device),
    )
    x0 = case.point(DATA)
    with torch.device("meta"):  # where tensors end up that are made without saying where
        state = there.init(x0.to(device))
        for _ in range(3):
            state, info = there.step(state)
    assert {t.device.type for t in tensors_of((state, info))} == {device}
    here.proposer.to("cpu")
    expected = solve(here, x0)
    for mine, its in zip(
        (state.x, state.value, state.relaxation, state.status), expected, strict=True
    ):
        torch.testing.assert_close(mine.cpu(), its)
