"""Settings that would be dropped are refused before the first iteration; defaults never are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm

X0 = torch.tensor([[4.0, 1.0], [-2.0, 3.0]], dtype=torch.float64)
WIDE = lmm.Projection(upper=1.9)
QUICK = lmm.Relaxation(shrink=0.5)


def quadratic(x: Tensor) -> Tensor:
    return (x**2).sum(1)


def whole() -> lmm.LearnedDirection:
    return lmm.Unprojected(lmm.CoordinatewiseLSTM(4).double())


WAYS: dict[str, Callable[..., Any]] = {
    "optimizer": lambda **settings: lmm.ProjectedMMOptimizer(quadratic, **settings),
    "minimize": lambda **settings: lmm.minimize(quadratic, X0, **settings),
    "unrolled": lambda **settings: lmm.UnrolledMM(lmm.Quadratic, steps=2, **settings),
}
by_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "projection-memory": (
        lambda: {"projection": WIDE, "proposer": lmm.LimitedMemory()},
        r"projection confines multipliers, but LimitedMemory proposes whole steps.*upper=1.9",
    ),
    "projection-learned": (
        lambda: {"projection": WIDE, "proposer": whole()},
        r"projection confines multipliers, but Unprojected proposes whole steps",
    ),
    "relaxation-memory": (
        lambda: {"relaxation": QUICK, "proposer": lmm.LimitedMemory()},
        r"relaxation scales the bound .*LimitedMemory makes the steps.*shrink=0.5",
    ),
    "relaxation-unsafe": (
        lambda: {"relaxation": QUICK, "safeguard": None, "proposer": None},
        r"relaxation needs the safeguard, which is None.*shrink=0.5",
    ),
}


@by_way
@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_dropped_is_refused(
    way: Callable[..., Any], settings: Callable[[], dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        way(**settings())


def test_the_default_steps_of_minimize_count_too() -> None:
    for setting in ({"projection": WIDE}, {"relaxation": QUICK}):
        with pytest.raises(ValueError, match="LimitedMemory"):
            lmm.minimize(quadratic, X0, **setting)


@by_way
@pytest.mark.parametrize(
    "settings",
    [
        lambda: {"projection": lmm.Projection(), "proposer": lmm.LimitedMemory()},
        lambda: {"projection": None, "proposer": lmm.LimitedMemory()},
        lambda: {"relaxation": lmm.Relaxation(), "proposer": lmm.LimitedMemory()},
        lambda: {"relaxation": None, "proposer": lmm.LimitedMemory()},
        lambda: {"relaxation": QUICK, "proposer": whole()},
        lambda: {"relaxation": QUICK, "projection": WIDE, "proposer": None},
        lambda: {"projection": WIDE, "proposer": lmm.Constant().double()},
        lambda: {"projection": WIDE, "safeguard": None, "proposer": lmm.Identity()},
        lambda: {"relaxation": lmm.Relaxation(), "safeguard": None, "proposer": None},
    ],
)
def test_what_works_together_is_taken(
    way: Callable[..., Any], settings: Callable[[], dict[str, Any]]
) -> None:
    way(**settings())


def test_a_pass_without_the_safeguard_takes_any_relaxation() -> None:
    component = lmm.Constant().double()
    solver = lmm.UnrolledMM(
        lmm.Quadratic, component, steps=2, settings=lmm.SolveSettings(relaxation=QUICK)
    )
    solved = solver(X0, torch.zeros_like(X0), verified=False)
    assert torch.isfinite(solved.values).all()


# --- what does not rest on a bound ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["direction", "learned", "multipliers"])
def test_who_is_confined_to_the_region_of_a_bound(kind: str) -> None:
    """Only the steps of a `Direction` leave it, which are verified."""

    class Far(lmm.Direction):
        def init_state(self, x: Tensor) -> Any:
            return None

        def forward(self, point: lmm.Point, state: Any) -> tuple[Tensor, Any]:
            return point.x / 2, None

    class FarLearned(lmm.LearnedDirection):
        def init_state(self, x: Tensor) -> Any:
            return None

        def forward(self, features: lmm.Features, state: Any) -> tuple[Tensor, Any]:
            return features.x / 2, None

    def majorant(x: Tensor, aux: Any = None) -> lmm.Bound:
        radius = torch.full_like(x[:, 0], 0.01)
        return lmm.Bound(lmm.Kind.REGION, lmm.ScalarCurvature(torch.full_like(radius, 2.0)), radius)

    components = {"direction": Far(), "learned": FarLearned(), "multipliers": lmm.Constant()}
    component = components[kind].double()
    optimizer = lmm.ProjectedMMOptimizer(quadratic, majorant=majorant, proposer=component)
    state, info = optimizer.step(optimizer.init(X0))
    assert info.accepted.all()
    assert info.cut.tolist() == [kind != "direction"] * 2
    if kind == "direction":
        torch.testing.assert_close(state.x, X0 / 2)
    else:
        torch.testing.assert_close(info.step_norm, torch.full((2,), 0.01, dtype=torch.float64))


# --- batches -------------------------------------------------------------------------------------


def mean_of_all(x: Tensor) -> Tensor:
    return ((x - x.mean(0)) ** 2).sum(1) + (x**2).sum(1)


def batch_norm(x: Tensor) -> Tensor:
    return (torch.nn.functional.batch_norm(x, None, None, training=True) ** 2 * x).sum(1)


def largest_of_all(x: Tensor) -> Tensor:
    size = (x**2).sum(1)
    return size + size.max()


def one_sees(i: int, j: int) -> Callable[[Tensor], Tensor]:
    """Only problem i sees another one, which is j."""

    def fun(x: Tensor) -> Tensor:
        seen = torch.zeros(len(x), dtype=x.dtype)
        seen[i] = 1
        return (x**2).sum(1) + seen * x[j].sum()

    return fun


SPREAD = torch.arange(1.0, 15.0, dtype=torch.float64).reshape(7, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("fun", "who"),
    [
        (mean_of_all, r"\[0, 1, 2, 3, 4, 5, 6\]"),
        (batch_norm, r"\[0, 1, 2, 3, 4, 5, 6\]"),
        (largest_of_all, r"\[0, 1, 2, 3, 4, 5\]"),
        *((one_sees(i, j), rf"\[{i}\]") for i in range(7) for j in range(7) if i != j),
    ],
)
def test_coupled_problems_are_found(
    fun: Callable[[Tensor], Tensor], who: str, dtype: torch.dtype
) -> None:
    with pytest.raises(RuntimeError, match=f"not independent: the values of problems {who} change"):
        lmm.minimize(fun, SPREAD.to(dtype), check_independent=True)


def test_many_coupled_problems_are_not_all_listed() -> None:
    with pytest.raises(RuntimeError, match=r"7, 8, 9\] \.\.\. change"):
        lmm.minimize(mean_of_all, torch.rand(30, 2), check_independent=True)


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_independent_problems_pass(batch: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(batch)
    x0 = 3 + torch.rand(batch, 4, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.rand(batch, 6, generator=generator, dtype=torch.float64).to(dtype)
    matrix = torch.rand(6, 4, generator=generator, dtype=torch.float64).to(dtype)
    for objective in (
        lmm.CosineDistance(target) @ matrix,
        lambda x: x[:, 0].log() + (x**2).sum(1),
        lambda x: torch.where(x[:, 0] < 4, (x**2).sum(1), torch.nan),
    ):
        settings: dict[str, Any] = {"check_independent": True, "max_iter": 2, "strict": False}
        lmm.minimize(objective, x0, **settings)
    lmm.minimize(lambda x: (x**2).sum(), x0[0], check_independent=True)


def test_a_start_at_the_border_is_moved_less() -> None:
    """Beyond it the objective raises; problems still are told apart."""

    def fun(x: Tensor) -> Tensor:
        if bool(((x - 1).abs() > 1e-3).any()):
            raise ValueError("outside")
        return mean_of_all(x)

    x0 = torch.ones(3, 2, dtype=torch.float64) + 1e-4 * torch.eye(3, 2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"not independent.* \[0, 1, 2\]"):
        lmm.minimize(fun, x0, check_independent=True)


def test_unrolled_solvers_and_every_start_can_check() -> None:
    solver = lmm.UnrolledMM(
        lambda data: mean_of_all, lmm.Constant().double(), steps=2, check_independent=True
    )
    with pytest.raises(RuntimeError, match="not independent"):
        solver(None, SPREAD)
