"""Settings that would be dropped are refused before the first iteration; defaults never are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Returning

X0 = torch.tensor([[4.0, 1.0], [-2.0, 3.0]], dtype=torch.float64)
WIDE = lmm.Projection(upper=1.9)
QUICK = lmm.Relaxation(shrink=0.5)

Settings = lmm.SolveSettings


def quadratic(x: Tensor) -> Tensor:
    return (x**2).sum(1)


def learned() -> lmm.Proposer:
    """Whole steps of a network."""
    return lmm.proposers.Unprojected(lmm.proposers.CoordinatewiseLSTM(4).double())


Way = Callable[[lmm.Proposer | None, lmm.SolveSettings], Any]

WAYS: dict[str, Way] = {
    "optimizer": lambda proposer, settings: lmm.ProjectedMMOptimizer(
        quadratic, proposer=proposer, settings=settings
    ).init(X0),
    "minimize": lambda proposer, settings: lmm.minimize(
        quadratic, X0, proposer=proposer, settings=settings
    ),
    "unrolled": lambda proposer, settings: lmm.UnrolledMM(
        lambda y: quadratic, proposer, steps=2, settings=settings
    )(X0, X0),
}
by_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


# --- settings among themselves -------------------------------------------------------------------


def test_relaxation_needs_the_safeguard_when_settings_are_made() -> None:
    message = r"relaxation needs the safeguard, which is None: leave it out.*shrink=0.5"
    with pytest.raises(ValueError, match=message):
        Settings(safeguard=None, relaxation=QUICK)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Settings(relaxation=QUICK), safeguard=None)


@pytest.mark.parametrize("relaxation", [None, lmm.Relaxation()])
def test_without_the_safeguard_the_default_relaxation_is_none(
    relaxation: lmm.Relaxation | None,
) -> None:
    settings = Settings(safeguard=None, relaxation=relaxation)
    assert settings.relaxation is None
    assert settings == Settings(safeguard=None)


def test_settings_are_frozen_and_equal_by_value() -> None:
    settings = Settings(gtol=1e-3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.gtol = 1.0  # type: ignore[misc]
    assert settings == Settings(gtol=1e-3)
    assert hash(settings) == hash(Settings(gtol=1e-3))
    assert settings != Settings()


# --- settings and parts --------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], lmm.Proposer], lmm.SolveSettings, str]] = {
    "projection-memory": (
        lmm.LimitedMemory,
        Settings(projection=WIDE),
        r"projection confines multipliers, but LimitedMemory proposes whole steps.*upper=1.9",
    ),
    "projection-learned": (
        learned,
        Settings(projection=WIDE),
        r"projection confines multipliers, but Unprojected proposes whole steps.*upper=1.9",
    ),
    "projection-unsafe": (
        learned,
        Settings(projection=WIDE, safeguard=None),
        r"projection confines multipliers, but Unprojected proposes whole steps.*upper=1.9",
    ),
    "relaxation-secants": (
        lmm.LimitedMemory,
        Settings(relaxation=QUICK),
        r"relaxation scales bounds that are not proved, but without a majorant=.*shrink=0.5",
    ),
}


@by_way
@pytest.mark.parametrize(("make", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_dropped_is_refused(
    way: Way, make: Callable[[], lmm.Proposer], settings: lmm.SolveSettings, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        way(make(), settings)


def test_the_default_steps_of_minimize_count_too() -> None:
    for settings in (Settings(projection=WIDE), Settings(relaxation=QUICK)):
        with pytest.raises(ValueError, match=r"confines multipliers|scales bounds"):
            lmm.minimize(quadratic, X0, settings=settings)


@by_way
@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (lmm.LimitedMemory, Settings(projection=lmm.Projection())),
        (lmm.LimitedMemory, Settings(projection=None)),
        (lmm.LimitedMemory, Settings(relaxation=lmm.Relaxation())),
        (lmm.LimitedMemory, Settings(relaxation=None)),
        (learned, Settings(relaxation=QUICK)),
        (lambda: None, Settings(relaxation=QUICK, projection=WIDE)),
        (lambda: lmm.proposers.Constant().double(), Settings(projection=WIDE)),
        (lambda: lmm.proposers.Constant().double(), Settings(projection=WIDE, safeguard=None)),
        (lambda: None, Settings(relaxation=lmm.Relaxation(), safeguard=None)),
    ],
)
def test_what_works_together_is_taken(
    way: Way, make: Callable[[], lmm.Proposer | None], settings: lmm.SolveSettings
) -> None:
    way(make(), settings)


def test_a_bound_that_is_named_may_be_relaxed() -> None:
    """Relaxation has something to scale there, whoever proposes."""
    for given in (
        {"fun": quadratic, "majorant": lmm.majorants.PowerIterationMajorant(quadratic)},
        {"fun": lmm.AutoencoderPrior(torch.nn.Linear(2, 2).double().requires_grad_(False))},
    ):
        result = lmm.minimize(**given, x0=X0, settings=Settings(relaxation=QUICK, max_iter=3))
        assert result.certificate.monotone.all()


def test_a_pass_without_the_safeguard_takes_any_relaxation() -> None:
    solver = lmm.UnrolledMM(
        lmm.Quadratic,
        lmm.proposers.Constant().double(),
        steps=2,
        settings=Settings(relaxation=QUICK),
    )
    solved = solver(X0, torch.zeros_like(X0), verified=False)
    assert torch.isfinite(solved.values).all()


def test_unrolled_solvers_count_their_own_steps() -> None:
    with pytest.raises(ValueError, match="takes steps= in place of max_iter=3"):
        lmm.UnrolledMM(lmm.Quadratic, settings=Settings(max_iter=3))


# --- what does not rest on a bound ---------------------------------------------------------------

RADIUS = 0.01


def region(x: Tensor, aux: Any = None) -> lmm.Bound:
    radius = torch.full_like(x[:, 0], RADIUS)
    return lmm.Bound(
        lmm.Kind.REGION, lmm.curvature.ScalarCurvature(torch.full_like(radius, 2.0)), radius
    )


def halfway() -> lmm.Proposer:
    return Returning(lambda point: lmm.Step(point.x / 2))


@pytest.mark.parametrize(
    ("make", "safeguard", "confined"),
    [
        (halfway, lmm.Safeguard(), False),
        (lambda: lmm.proposers.Constant(initial=0.5).double(), lmm.Safeguard(), True),
        (lambda: None, lmm.Safeguard(), True),
        (halfway, None, True),
    ],
    ids=["step", "multipliers", "own", "unverified"],
)
def test_who_is_confined_to_the_region_of_a_bound(
    make: Callable[[], lmm.Proposer | None], safeguard: lmm.Safeguard | None, confined: bool
) -> None:
    """Whole steps that are verified may leave it: they do not rest on the bound."""
    optimizer = lmm.ProjectedMMOptimizer(
        quadratic, majorant=region, proposer=make(), settings=Settings(safeguard=safeguard)
    )
    state, info = optimizer.step(optimizer.init(X0))
    assert info.accepted.all()
    if confined:
        torch.testing.assert_close(info.step_norm, torch.full_like(state.value, RADIUS))
    else:
        torch.testing.assert_close(state.x, X0 / 2)
        assert not info.cut.any()
