"""Patches that the evidence asks for: how many, where, and how sure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from learnmm_esi.inverse.energy import heat_kernel
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.inverse.likely_patches import FALL, PLACES, TRUST, Dictionary, likely_patches
from learnmm_esi.inverse.marginal import MarginalLikelihood

MODES, COLUMNS = 20, 100
EVERYWHERE = torch.logspace(1, -3, MODES, dtype=torch.float64)
"""Variances of a background, as steep as those of a lead field."""


@pytest.fixture(scope="module")
def planted():
    """A dictionary of unit columns, and two samples each of no, one and three of them."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    matrix = torch.nn.functional.normalize(normal(MODES, COLUMNS), dim=0)
    samples = normal(3, MODES, 2)
    for recording, columns in ((1, [7]), (2, [3, 50, 90])):
        samples[recording] += 30 * matrix[:, columns] @ normal(len(columns), 2).sign()
    floor = torch.ones(3, MODES, dtype=torch.float64)
    dictionary = Dictionary(matrix, torch.ones(COLUMNS, dtype=torch.float64), EVERYWHERE)
    return dictionary, samples, torch.tensor([2, 2, 2]), floor


def only(dictionary, columns):
    """Some columns of a dictionary."""
    return Dictionary(dictionary.matrix[:, columns], dictionary.peaks[columns], EVERYWHERE)


def test_finds_what_was_planted_and_no_more(planted):
    found = likely_patches(*planted)
    assert found.asked.sum(1).tolist() == [1, 1, 3]  # the first always stays
    strongest = found.places.gather(2, found.deviations.argmax(2, keepdim=True))[..., 0]
    assert strongest[1, :1].tolist() == [7]
    assert sorted(strongest[2, :3].tolist()) == [3, 50, 90]
    assert bool((found.deviations >= 0).all())
    assert bool(found.deviations[0, 0].norm() < 2.0)  # noise alone asks for next to nothing


def test_first_patch_has_the_evidence_that_its_variance_gives(planted):
    """Of one column: the objective falls by what the best variance gains, and at no other more."""
    dictionary, *rest = planted
    samples, count, floor = (one[1:2] for one in rest)
    found = likely_patches(dictionary, samples, count, floor)
    matrix = dictionary.matrix
    best = int(found.places[0, 0, 0])
    objective = MarginalLikelihood(matrix[None, :, best, None, None], samples, count, floor)
    power = float((matrix[:, best] @ samples[0]).square().sum() / 2)
    deviations = torch.tensor([0.0, math.sqrt(power - 1), 5.0, 50.0], dtype=torch.float64)
    values = [float(objective(q.reshape(1, 1))) for q in deviations]
    assert values[0] - values[1] == pytest.approx(power - 1 - math.log(power))
    assert min(values) == values[1]


def test_what_is_expected_weighs_places_as_the_evidence_does(planted):
    """Of a patch by itself: the odds of two places are those of both, to the power of `TRUST`."""
    dictionary, *rest = planted
    dictionary, rest = only(dictionary, torch.arange(PLACES)), [one[:1] for one in rest]
    expected = torch.randn(1, PLACES, generator=torch.Generator().manual_seed(1)).double()

    def variances(*told):
        found = likely_patches(dictionary, *rest, *told)
        assert found.asked.sum() == 1
        places = torch.zeros(PLACES, dtype=torch.float64)
        return places.scatter(0, found.places[0, 0], found.deviations[0, 0].square())

    odds = variances(expected) / variances()
    torch.testing.assert_close(odds / odds[0], (TRUST * (expected - expected[:, :1])).exp()[0])
    torch.testing.assert_close(variances(expected + 7.0), variances(expected))


def test_recordings_do_not_influence_each_other(planted, monkeypatch):
    dictionary, samples, count, floor = planted
    generator = torch.Generator().manual_seed(3)
    ongoing = torch.randn(1, MODES, 2, generator=generator, dtype=torch.float64)
    ongoing *= 30 * EVERYWHERE.sqrt()[:, None]
    rest = [torch.cat([samples, ongoing]), torch.cat([count, count[:1]]), floor[[0, 1, 2, 0]]]
    together = likely_patches(dictionary, *rest)
    assert (together.background > 0).tolist() == [False, False, False, True]
    for i in range(4):
        alone = likely_patches(dictionary, *(one[i : i + 1] for one in rest))
        for whole, one in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[i : i + 1], one)
    two = 2 * dictionary.matrix.numel()
    monkeypatch.setattr("learnmm_esi.inverse.likely_patches._PART_VALUES", two)
    for whole, one in zip(together, likely_patches(dictionary, *rest), strict=True):
        torch.testing.assert_close(whole, one)


def test_places_that_nobody_can_tell_apart_share_a_patch(planted):
    dictionary, *rest = planted
    found = likely_patches(only(dictionary, [*range(COLUMNS), 7]), *rest)
    assert found.places.shape[2] == PLACES
    shares = dict(zip(found.places[1, 0].tolist(), found.deviations[1, 0].tolist(), strict=True))
    assert shares[7] == pytest.approx(shares[COLUMNS])
    assert shares[7] == pytest.approx(max(shares.values()))


@pytest.mark.parametrize("unit", [1.0, 1e-9])
@pytest.mark.parametrize(("best", "odds"), [(None, 1.0), (1e6, 1.0), (1e-6, 9.0**FALL)])
def test_of_places_that_look_alike_that_of_weaker_sources_is_likelier(planted, best, odds, unit):
    """Of column 7 and its twin, whose strongest source is three times as strong.

    They are as likely where no patch is seen better, or where the sources of that one are much
    stronger anyway; where they are much weaker the odds are those of the power `FALL`.
    """
    dictionary, _, count, floor = planted
    matrix, peaks, _ = both = only(dictionary, [*range(COLUMNS), 7])
    peaks[COLUMNS] = 3.0
    course = torch.tensor([1.0, -1.0], dtype=torch.float64)
    recording = 30 * matrix[:, 7, None] * course
    if best is not None:
        peaks[50] = best
        recording = recording + 300 * matrix[:, 50, None]
    peaks *= unit
    found = likely_patches(both, recording[None], count[:1], floor[:1])
    patch = 0 if best is None else 1  # the strong one comes first
    assert found.asked.sum() == patch + 1
    places = found.places[0, patch].tolist()
    power = found.deviations[0, patch].square()
    ratio = power[places.index(7)] / power[places.index(COLUMNS)]
    assert float(ratio) == pytest.approx(odds, rel=1e-6)


@pytest.mark.parametrize("width", [0.0, 12.0])
def test_a_patch_of_any_width_is_found_where_it_is(fsaverage_model, width):
    """Sources of single regions too, which patches of one width misplace."""
    regions = np.eye(fsaverage_model.leadfield.shape[1])[[30, 400, 700]]
    shape = regions @ heat_kernel(fsaverage_model.neighbours, width)
    rng = np.random.default_rng(0)
    course = np.sin(np.linspace(0, 3, 20))
    sensors = np.einsum("sn,bn,t->bst", fsaverage_model.leadfield, shape, course)
    noise = rng.standard_normal(sensors.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    sensors += 0.1 * noise * sensors.std(axis=(1, 2), keepdims=True)
    found = EvidenceEnergy(fsaverage_model).reconstruct(sensors).sources
    assert (np.abs(found).sum(2).argmax(1) == shape.argmax(1)).all()
