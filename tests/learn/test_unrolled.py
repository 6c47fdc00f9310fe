"""The solve as one differentiable pass: gradients, modes, memory, misuse."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from adversaries import Hostile
from learnmm.learn.implicit import least_norm_solve

DTYPE = torch.float64
UNKNOWNS, ROWS, TIMES = 6, 4, 5


class Energy(nn.Module):
    """Cosine data term and autoencoder prior with a learned weight, of data ``(B, 4, 5)``."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = torch.randn(ROWS, UNKNOWNS, generator=generator, dtype=DTYPE)
        self.network = nn.Sequential(
            nn.Conv1d(UNKNOWNS, 3, 3, padding=1),
            lmm.SoftReLU(0.3),
            nn.Conv1d(3, UNKNOWNS, 3, padding=1),
        ).to(DTYPE)
        for weight in self.network.parameters():
            weight.data = torch.randn(weight.shape, generator=generator, dtype=DTYPE) / 3
        self.log_weight = nn.Parameter(torch.tensor(-1.0, dtype=DTYPE))
        self.prior = lmm.AutoencoderPrior(self.network)

    def forward(self, y: Tensor) -> lmm.Atom:
        return lmm.CosineDistance(y) @ self.matrix + self.log_weight.exp() * self.prior


def data(batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(batch, ROWS, TIMES, generator=generator, dtype=DTYPE)
    return y, torch.randn(batch, UNKNOWNS, TIMES, generator=generator, dtype=DTYPE)


def proposing(name: str, energy: Energy) -> lmm.LearnedComponent:
    torch.manual_seed(2)
    network = lmm.DualConvLSTM(UNKNOWNS, 4, initial=0.6).to(DTYPE)
    if name == "multipliers":
        return network
    if name == "spectral":
        return lmm.SpectralLSTM(energy.matrix, 4).to(DTYPE)
    return lmm.Unprojected(network, lmm.DampedInverse(energy.matrix, 0.1).to(DTYPE))


def loss_of(solved: lmm.Unrolled) -> Tensor:
    return lmm.CosineDistance(torch.ones_like(solved.x))(solved.x).sum() + solved.values[-1].sum()


@pytest.mark.parametrize("name", ["multipliers", "spectral", "direction"])
@pytest.mark.parametrize("backward", ["unroll", "checkpoint"])
def test_gradients_are_those_of_finite_differences(name: str, backward: str) -> None:
    """Through the energy's own gradient, the bound and the mask of the safeguard."""
    energy = Energy()
    for weight in energy.network.parameters():
        weight.requires_grad_(False)  # layer norms count as constants, so these are tested apart
    solver = lmm.UnrolledMM(
        energy,
        proposing(name, energy),
        steps=4,
        backward=backward,
        settings=lmm.SolveSettings(relaxation=None),
    )
    y, x0 = data()
    loss = loss_of(solver(y, x0))
    parameters = [p for p in solver.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(3)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
        direction = torch.randn(parameter.shape, generator=generator, dtype=DTYPE)
        values = []
        with torch.no_grad():
            for sign in (1.0, -1.0):
                parameter += sign * 1e-5 * direction
                values.append(loss_of(solver(y, x0)))
                parameter -= sign * 1e-5 * direction
        difference = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-7)


def test_gradients_of_the_energys_network_are_those_of_finite_differences() -> None:
    """With steps that do not rest on layer norms: whole steps, none of them refused."""
    energy = Energy()
    solver = lmm.UnrolledMM(
        energy, proposing("direction", energy), steps=3, settings=lmm.SolveSettings(safeguard=None)
    )
    y, x0 = data()
    weight = energy.network[0].weight
    (gradient,) = torch.autograd.grad(loss_of(solver(y, x0)), [weight])
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4), dtype=DTYPE)
    with torch.no_grad():
        weight += 1e-5 * direction
        above = loss_of(solver(y, x0))
        weight -= 2e-5 * direction
        below = loss_of(solver(y, x0))
    torch.testing.assert_close(
        (gradient * direction).sum(), (above - below) / 2e-5, rtol=1e-6, atol=0
    )


def test_steps_are_the_optimizers_own() -> None:
    energy = Energy()
    solver = lmm.UnrolledMM(energy, proposing("direction", energy), steps=12)
    y, x0 = data()
    solved = solver(y, x0)
    result = solver.optimizer(y, settings=lmm.SolveSettings(max_iter=12)).minimize(x0, history=True)
    assert torch.equal(solved.x, result.x)
    assert torch.equal(solved.values[1:], result.history.value)
    assert torch.equal(solver.certificate(solved).accepted, result.certificate.accepted)
    assert torch.equal(solved.iterates[-1], solved.x)
    assert torch.equal(solved.iterates[0], x0)


def test_safeguard_holds_in_training_and_can_be_lifted_for_a_pass() -> None:
    energy = Energy()
    solver = lmm.UnrolledMM(energy, lmm.Unprojected(Hostile((-3.0, 3.0, 2.0))), steps=30)
    y, x0 = data()
    verified, free = solver(y, x0), solver(y, x0, verified=False)
    assert bool((verified.values.diff(dim=0) <= 0).all())
    assert bool(solver.certificate(verified).monotone.all())
    assert int(verified.steps.accepted.sum()) < verified.steps.accepted.numel()
    assert bool((free.values.diff(dim=0) > 0).any())


@pytest.mark.parametrize("window", [1, 3])
def test_truncation_keeps_the_last_steps_and_the_values(window: int) -> None:
    energy = Energy()
    y, x0 = data()
    component = proposing("multipliers", energy)
    whole = lmm.UnrolledMM(energy, component, steps=8)(y, x0)
    truncated = lmm.UnrolledMM(
        energy, component, steps=8, backward=lmm.Backward("truncated", window=window)
    )(y, x0)
    torch.testing.assert_close(truncated.values, whole.values)
    assert len(truncated.iterates) == window + 1
    assert not truncated.iterates[0].requires_grad
    assert truncated.iterates[1].requires_grad
    # The same as starting the last steps from a constant, memory and relaxation included.
    (gradient,) = torch.autograd.grad(loss_of(truncated), [energy.log_weight])
    optimizer = lmm.UnrolledMM(energy, component).optimizer(y)
    with torch.no_grad():
        state = optimizer.init(x0)
        for _ in range(8 - window):
            state, _ = optimizer.step(state)
    for _ in range(window):
        state, _ = optimizer.step(state)
    expected = lmm.CosineDistance(torch.ones_like(state.x))(state.x).sum() + state.value.sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, [energy.log_weight])[0])


@pytest.mark.parametrize("backward", ["unroll", "checkpoint"])
def test_callables_unroll_too(backward: str) -> None:
    """Objectives by automatic differentiation, also where saved tensors are intercepted."""
    scale = nn.Parameter(torch.tensor(2.0, dtype=DTYPE))
    solver = lmm.UnrolledMM(
        lambda y: lambda x: (scale * (x - y) ** 4).sum(1) + ((x - y) ** 2).sum(1),
        lmm.Constant(initial=0.5).to(DTYPE),
        majorant=lambda x, aux: lmm.Bound(
            lmm.Kind.ESTIMATE, lmm.ScalarCurvature(50 * torch.ones(len(x), dtype=DTYPE))
        ),
        settings=lmm.SolveSettings(relaxation=None),
        steps=5,
        backward=backward,
    )
    y = torch.linspace(-1, 1, 6, dtype=DTYPE).reshape(2, 3)

    def run() -> Tensor:
        return solver(y, torch.zeros_like(y)).x.square().sum()

    (gradient,) = torch.autograd.grad(run(), [scale])
    with torch.no_grad():
        scale += 1e-5
        above = run()
        scale -= 2e-5
        below = run()
    torch.testing.assert_close(gradient, (above - below) / 2e-5, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backward", ["unroll", "checkpoint"])
def test_a_refused_infinite_candidate_spoils_no_gradient(backward: str) -> None:
    """Its slope is infinite too, and a mask would make NaN of zero times that, for everybody."""

    def wall(x: Tensor) -> Tensor:
        return (x[:, 0] - 1) ** 2 + torch.exp((-1000 * x[:, 0]).clamp(min=0))

    def learned(*starts: float) -> Tensor:
        number = lmm.Constant(initial=1.9998).double()
        solver = lmm.UnrolledMM(
            lambda data: wall,
            number,
            start=lambda data: data,
            steps=1,
            backward=backward,
            majorant=lmm.LipschitzMajorant(2.0),
            settings=lmm.SolveSettings(projection=lmm.Projection(upper=1.9998)),
        )
        solved = solver(torch.tensor(starts, dtype=torch.float64)[:, None])
        solved.values[-1].sum().backward()
        return number.multipliers.grad

    # From 3 the step ends beyond the wall, at infinity; from 0.9 it does not.
    assert torch.equal(learned(3.0), torch.zeros(()))
    alone = learned(0.9)
    assert float(alone) != 0
    torch.testing.assert_close(learned(3.0, 0.9), alone)


def test_no_nan_where_nothing_is_left_to_do() -> None:
    """At a zero residual the square roots of the bounds have no slope; gradients stay finite."""
    energy = Energy()
    _, x0 = data()
    y = energy.matrix @ x0
    solver = lmm.UnrolledMM(
        lambda d: (
            lmm.CosineDistance(d) @ energy.matrix
            + energy.log_weight.exp()
            * lmm.LinearSmootherPrior(torch.eye(UNKNOWNS, dtype=DTYPE), "pointwise")
        ),
        proposing("multipliers", energy),
        steps=3,
    )
    x0 = x0.clone().requires_grad_()
    solved = solver(y, x0)
    assert float(solved.values[0].detach().max()) < 1e-15
    solved.x.sum().backward()
    assert bool(torch.isfinite(x0.grad).all())
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in solver.parameters())


def test_implicit_gradient_is_that_of_the_minimizer() -> None:
    """Ridge regression, whose minimizer has a derivative in closed form."""
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(8, 5, generator=generator, dtype=DTYPE)
    y = torch.randn(2, 8, generator=generator, dtype=DTYPE)
    weight = nn.Parameter(torch.tensor(0.7, dtype=DTYPE))
    outer = torch.randn(2, 5, generator=generator, dtype=DTYPE)
    solver = lmm.UnrolledMM(
        lambda d: (
            lmm.least_squares(matrix, d) + weight * lmm.Quadratic(torch.zeros(2, 5, dtype=DTYPE))
        ),
        start=lambda d: torch.zeros(2, 5, dtype=DTYPE),
        steps=60,
        backward="implicit",
    )
    (gradient,) = torch.autograd.grad((outer * solver(y).x).sum(), [weight])
    exact = weight.detach().clone().requires_grad_()
    normal = matrix.mT @ matrix + exact * torch.eye(5, dtype=DTYPE)
    minimizer = torch.linalg.solve(normal, (y @ matrix).mT).mT
    torch.testing.assert_close(gradient, torch.autograd.grad((outer * minimizer).sum(), [exact])[0])


def test_least_norm_solve_agrees_with_the_pseudo_inverse() -> None:
    """Indefinite and singular, several problems at once, each at its own pace."""
    generator = torch.Generator().manual_seed(6)
    basis = torch.linalg.qr(torch.randn(3, 6, 6, generator=generator, dtype=DTYPE))[0]
    spectrum = torch.tensor(
        [[3.0, -2, 1, 0, 0, 0], [1.0, 1, 1, 1, 1, 1], [5.0, 4, -3, 2, 1, 0]], dtype=DTYPE
    )
    hessian = basis @ torch.diag_embed(spectrum) @ basis.mT
    target = torch.randn(3, 6, generator=generator, dtype=DTYPE)
    found = least_norm_solve(lambda v: (hessian @ v[..., None])[..., 0], target, 1e-10, 100)
    expected = (torch.linalg.pinv(hessian) @ target[..., None])[..., 0]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    zero = least_norm_solve(lambda v: 0 * v, target, 1e-6, 10)
    assert torch.equal(zero, torch.zeros_like(target))


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
            energy, lmm.DualConvLSTM(UNKNOWNS, 32).to(DTYPE), steps=steps, backward=backward
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
            lmm.DualConvLSTM(UNKNOWNS, 4).to(DTYPE),
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backward": "reverse"}, "backward must be one of"),
        ({"window": 3}, "window goes with backward='truncated'"),
        ({"backward": "truncated"}, "window goes with backward='truncated'"),
        ({"backward": "truncated", "window": 0}, "window must be at least 1"),
        ({"keep_iterates": "last"}, "keep_iterates must be True or False"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"max_iter": 3}, "steps= in place of max_iter="),
        ({"start": 3}, "start must map data to iterates"),
        ({"projection": 0.5}, "projection must be a Projection"),
        (
            {
                "backward": "checkpoint",
                "majorant": lmm.LanczosMajorant(torch.sum, generator=torch.Generator()),
            },
            "must not draw from a generator of its own",
        ),
    ],
)
def test_misuse_is_refused_at_construction(settings: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lmm.UnrolledMM(Energy(), **settings)


def test_misuse_is_refused_at_the_call() -> None:
    energy = Energy()
    y, x0 = data()
    with pytest.raises(ValueError, match="give x0, or start="):
        lmm.UnrolledMM(energy)(y)
    with pytest.raises(ValueError, match="steps must be an integer"):
        lmm.UnrolledMM(energy)(y, x0, steps=-1)
    with pytest.raises(TypeError, match="energy must map data"):
        lmm.UnrolledMM(3)
    with pytest.raises(TypeError, match="LearnedPreconditioner, a LearnedDirection or a Direction"):
        lmm.UnrolledMM(energy, nn.Linear(2, 2))
