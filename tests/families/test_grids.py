"""Families too large for dense Hessians: the spectrum of a grid, and when it is worth anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.families import LearnedMemory, LearnSettings, Under, learning
from learnmm.families.learning import CHEAP, GAIN, MORE, weighed
from learnmm.families.spectra import SpectralModel, fitted_spectrum, spectra
from learnmm.registry import Instance, Problem
from learnmm.spectral import cosines, transformed

DTYPE = torch.float64
FEW = LearnSettings(instances=64, curved=8)


@dataclass(frozen=True)
class Blurred(Problem):
    """``f(x) = |K (x - y)|^2 / 2 + weight sum (sqrt(1 + x^2) - 1)``, ``K`` diagonal in cosines.

    Parameters
    ----------
    sides : tuple of int
        Of the grid.
    shared : bool
        Whether ``K`` is the same for all, low frequencies first, or has them mixed for each.
    """

    name: ClassVar[str] = "blurred"
    sides: tuple[int, ...] = (7, 9)
    shared: bool = True

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw what is to be found, and mix frequencies."""
        y = torch.randn(batch, *self.sides, generator=generator, dtype=torch.float64).to(dtype)
        bases = [cosines(n).to(dtype) for n in self.sides]
        gain = torch.logspace(0.5, -0.5, y[0].numel(), dtype=dtype).expand(batch, -1)
        if not self.shared:
            mixed = torch.rand(gain.shape, generator=generator).argsort(1)
            gain = gain.gather(1, mixed)
        gain = gain.reshape(y.shape)

        def fun(x: Tensor) -> Tensor:
            seen = gain * transformed(x - y, bases)
            return seen.square().flatten(1).sum(1) / 2 + 0.1 * (1 + x**2).sqrt().flatten(1).sum(1)

        return Instance(fun, torch.zeros_like(y), data=y.flatten(1))


@pytest.fixture(scope="module", autouse=True)
def few_are_many() -> Iterator[None]:
    """A grid of 63 unknowns is large enough, and one solve shows how long it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "LARGEST", 60)
        patch.setattr(learning, "ALONE", 1)
        yield


@pytest.fixture(scope="module")
def learned() -> LearnedMemory:
    return lmm.learn(Blurred(), FEW)


def test_a_shared_spectrum_is_worth_learning(learned: LearnedMemory) -> None:
    report = learned.report
    assert report is not None
    assert (report.under, report.starts) == ("spectrum", False)
    assert report.learned.at(1e-6) <= report.plain.at(1e-6) / 2
    assert report.learned.monotone == 64
    assert "uses the spectrum of the mean Hessian" in str(report)


def test_new_grids_are_solved_whatever_their_data(learned: LearnedMemory) -> None:
    new = Blurred().instance(3, generator=torch.Generator().manual_seed(7))
    result = lmm.minimize(new.objective, new.x0, proposer=learned)
    assert bool(result.success.all())
    assert bool(result.certificate.monotone.all())
    alone = lmm.minimize(
        Blurred().instance(3, generator=torch.Generator().manual_seed(7)).objective,
        new.x0,
        proposer=learned.given(new.data),
    )
    assert torch.equal(result.x, alone.x)
    with pytest.raises(ValueError, match=r"unknowns of shape \(7, 9\), got \(63,\)"):
        lmm.minimize(lambda x: x.square().sum(1), new.data, proposer=learned)


def test_a_file_holds_the_spectrum(learned: LearnedMemory, tmp_path: Path) -> None:
    learned.save(tmp_path / "grid.safetensors")
    loaded = LearnedMemory.load(tmp_path / "grid.safetensors")
    assert loaded.report == learned.report
    assert loaded.under is Under.SPECTRUM
    torch.testing.assert_close(loaded.model.spectrum, learned.model.spectrum, rtol=1e-6, atol=0)


def test_spectra_that_differ_are_not_used() -> None:
    report = lmm.learn(Blurred(shared=False), FEW).report
    assert report is not None
    assert not report.pays
    assert "Learning buys nothing here" in str(report)


def test_sides_that_no_matrix_is_made_of_are_refused() -> None:
    with pytest.raises(ValueError, match=r"60 unknowns .* at most 4096, blurred has .* \(5000,\)"):
        lmm.learn(Wide())


@dataclass(frozen=True)
class Wide(Problem):
    """A parabola of too many unknowns in a row."""

    name: ClassVar[str] = "blurred"

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw nothing."""
        return Instance(lambda x: x.square().sum(1), torch.ones(batch, 5000, dtype=dtype))


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_spectra_of_what_is_diagonal_are_exact(seed: int) -> None:
    """Signs tell a diagonal without noise."""
    entries = normal(2, 3, 4, seed=seed)
    bases = [cosines(3), cosines(4)]

    def fun(x: Tensor) -> Tensor:
        return (entries * transformed(x, bases).square()).flatten(1).sum(1) / 2

    x = normal(2, 3, 4, seed=seed + 1)
    found = spectra(Instance(fun, x), x, 1, torch.Generator().manual_seed(seed))
    slack = 64 * torch.finfo(DTYPE).eps * float(entries.abs().max())
    torch.testing.assert_close(found, entries, rtol=0, atol=slack)


@given(seed=st.integers(0, 10**6))
def test_what_cannot_be_told_from_zero_is_its_error(seed: int) -> None:
    noise = normal(16, 5, seed=seed)
    diagonals = torch.cat([noise - noise.mean(0), 3 + noise], 1)
    spectrum = fitted_spectrum(diagonals).spectrum
    torch.testing.assert_close(spectrum[:5], noise.std(0) / 4)
    torch.testing.assert_close(spectrum[5:], 3 + noise.mean(0))


def test_a_model_has_the_metrics_that_it_has() -> None:
    for under, starts in ((Under.MEAN, False), (Under.SPECTRUM, True)):
        with pytest.raises(ValueError, match=f"no metric '{under.value}'"):
            LearnedMemory(SpectralModel((4, 4)), under, starts)


COUNTS = st.lists(st.floats(1.0, 400.0), min_size=5, max_size=5)


@given(evaluations=COUNTS, seconds=COUNTS)
def test_the_choice_weighs_evaluations_and_time(
    evaluations: list[float], seconds: list[float]
) -> None:
    number = weighed(evaluations, seconds)
    least = min(evaluations)
    if least >= GAIN * evaluations[0]:
        assert number == 0
        return
    fewest = evaluations.index(least)
    assert evaluations[number] <= MORE * least
    if number != fewest:
        assert seconds[number] < CHEAP * seconds[fewest]
    for count, time in zip(evaluations, seconds, strict=True):
        # Nothing that is as good costs less than half.
        assert count > MORE * least or time >= CHEAP * seconds[number]


def test_a_choice_that_costs_ten_times_as_much_must_buy_more() -> None:
    assert weighed([38, 11, 9], [38, 11, 90]) == 1
    assert weighed([38, 20, 9], [38, 20, 90]) == 2
    assert weighed([38, 11, 9], [38, 11, 20]) == 2
    assert weighed([10, 11, 9], [10, 11, 30]) == 0
