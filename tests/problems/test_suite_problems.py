"""Tomography, templates, factorisation and real images: each against what is known elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from draws import seeded
from learnmm.checks import assert_majorant
from learnmm_problems.bundled import digits, photographs
from learnmm_problems.image_deconvolution import ImageDeconvolutionProblem
from learnmm_problems.logistic_digits import LogisticDigitsProblem
from learnmm_problems.matrix_factorisation import Factorisation, MatrixFactorisationProblem
from learnmm_problems.template_matching import TemplateMatchingProblem, quadrature_pairs
from learnmm_problems.tomography import TomographyProblem, projections

BATCH = 3


def disc(side: int, fine: int, centre: tuple[float, float], radius: float) -> Tensor:
    """Share of every pixel within a disc, rows being y."""
    at = 2 * (torch.arange(side * fine, dtype=torch.float64) + 0.5) / (side * fine) - 1
    inside = (at - centre[0]) ** 2 + (at[:, None] - centre[1]) ** 2 <= radius**2
    return inside.double().reshape(side, fine, side, fine).mean((1, 3))


@pytest.mark.parametrize(("centre", "radius"), [((0.0, 0.0), 0.7), ((0.3, -0.2), 0.4)])
def test_projections_of_a_disc_are_its_chords(centre: tuple[float, float], radius: float) -> None:
    side, views = 96, 12
    image = disc(side, 6, centre, radius)
    seen = (projections(side, views) @ image.flatten()).reshape(views, side)
    angle = math.pi * torch.arange(views, dtype=torch.float64)[:, None] / views
    t = 2 * (torch.arange(side, dtype=torch.float64) + 0.5) / side - 1
    off = t - centre[0] * angle.cos() - centre[1] * angle.sin()
    chords = 2 * (radius**2 - off**2).clamp(min=0).sqrt()
    error = (seen - chords).norm(dim=1) / chords.norm(dim=1)
    assert (error < 0.02).all()
    # Every view sees all of the disc's mass.
    torch.testing.assert_close(
        seen.sum(1) * 2 / side, torch.full_like(t[:views], math.pi * radius**2), rtol=5e-3, atol=0
    )


def test_tomography_has_fewer_data_than_pixels_and_finds_the_image() -> None:
    drawn = TomographyProblem().instance(BATCH, generator=seeded())
    fit = drawn.objective.parts[0]  # type: ignore[attr-defined]
    assert fit.linear.shape[0] < fit.linear.shape[1]
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=300)).minimize(drawn.x0)
    truth = drawn.facts["truth"]
    found = ((result.x - truth).norm(dim=1) / truth.norm(dim=1)).max()
    blind = torch.linalg.lstsq(fit.linear.matrix.to_dense(), fit.atom.target.mT, driver="gelsd")
    least = ((blind.solution.mT - truth).norm(dim=1) / truth.norm(dim=1)).max()
    assert float(found) < min(0.5, float(least))


@pytest.mark.parametrize("turn", [0.4, 1.7, 3.0])
def test_matches_do_not_depend_on_phases_or_gain(turn: float) -> None:
    drawn = TemplateMatchingProblem(noise=0.0).instance(BATCH, generator=seeded())
    matrix = drawn.objective.linear.matrix  # type: ignore[attr-defined]
    amplitude, phase = drawn.facts["amplitude"], drawn.facts["phase"] + turn
    y = 40 * torch.cat([amplitude * phase.cos(), amplitude * phase.sin()], 1) @ matrix.mT
    energy = lmm.CosineDistance(y) @ matrix
    result = lmm.minimize(energy, y @ matrix, settings=lmm.SolveSettings(gtol=1e-9))
    found = torch.hypot(*result.x.chunk(2, 1))
    cosine = torch.nn.functional.cosine_similarity(found, amplitude)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-6)


def test_templates_are_quadrature_pairs() -> None:
    pairs = quadrature_pairs(96, 8, 2)
    even, odd = pairs.chunk(2, 1)
    assert ((even * odd).sum(0).abs() < 0.05).all()  # the two phases do not see each other
    assert float(torch.linalg.cond(pairs)) < 100
    with pytest.raises(ValueError, match="places \\* tones = 60 for 96 samples"):
        TemplateMatchingProblem(places=30)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_region_bound_of_a_factorisation_holds(scale: float) -> None:
    draw = seeded(3)
    y = torch.randn(4, 5, 3, generator=draw, dtype=torch.float64)
    x = scale * torch.randn(4, 8, 2, generator=draw, dtype=torch.float64)
    atom = Factorisation(y, 0.1)
    assert_majorant(None, atom, x)
    # Within the radius, full steps in every direction, not the search's alone.
    bound, base = atom.bound(x), atom.evaluate(x)
    assert bound.kind is lmm.Kind.REGION
    assert bound.radius is not None
    for _ in range(200):
        step = torch.randn(x.shape, generator=draw, dtype=torch.float64)
        step = step * (bound.radius / step.norm(dim=(1, 2)))[:, None, None]
        above = base.value + (base.gradient * step).sum((1, 2)) + bound.curvature.quad(step) / 2
        assert (atom(x + step) <= above * (1 + 1e-12) + 1e-12).all()


def test_factorisation_takes_no_refused_step_and_reaches_eckart_and_young() -> None:
    drawn = MatrixFactorisationProblem().instance(BATCH, generator=seeded())
    solve = drawn.optimizer(
        settings=lmm.SolveSettings(max_iter=400, projection=lmm.Projection(upper=1.9998))
    )
    result = solve.minimize(drawn.x0)
    assert int(result.certificate.rejected.sum()) == 0
    assert int(result.certificate.violations.sum()) == 0
    assert drawn.optimum is not None
    gap = (result.fun - drawn.optimum) / (result.initial_fun - drawn.optimum)
    assert (gap < 1e-2).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Factorisation(torch.zeros(2, 3), 0.1), r"matrices \(B, m, n\), got shape \(2, 3"),
        (lambda: Factorisation(torch.zeros(2, 3, 4), 0.0), "positive ridge, got 0"),
        (
            lambda: Factorisation(torch.zeros(2, 3, 4), 1.0).check(torch.zeros(2, 6, 2)),
            r"expects x of shape \(2, 7, rank\)",
        ),
        (lambda: ImageDeconvolutionProblem(images="faces"), "images must be .* got 'faces'"),  # type: ignore[arg-type]
        (lambda: photographs("here", 1, 500), "from 1 to 106 pixels, got 500"),
    ],
)
def test_misuse_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_digits_are_told_from_the_others() -> None:
    drawn = LogisticDigitsProblem().instance(BATCH, generator=seeded())
    assert drawn.minimizer is not None
    fit = drawn.objective.parts[0]  # type: ignore[attr-defined]
    right = (drawn.minimizer @ fit.linear.matrix.mT) * fit.atom.target > 0
    assert (right.double().mean(1) > 0.95).all()
    # The minimizer also works on images that were not drawn.
    pixels, labels = digits("here")
    scores = torch.cat([pixels, torch.ones(len(pixels), 1)], 1) @ drawn.minimizer.mT
    hits = (scores > 0) == (labels[:, None] == drawn.facts["digit"])
    assert (hits.double().mean(0) > 0.85).all()


def test_photographs_are_grey_and_differ() -> None:
    crops = photographs("here", 20, 16, seeded())
    assert crops.shape == (20, 16, 16)
    assert float(crops.min()) >= 0
    assert float(crops.max()) <= 1
    assert len(crops.flatten(1).unique(dim=0)) == 20


def test_scikit_learn_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"'logistic-digits' .*pip install 'learnmm\[toy\]'"):
        LogisticDigitsProblem().instance(1)
