"""The verdict on learned starts: what is usual passes, what is not ends in the linear estimate."""

from __future__ import annotations

import math

import mne
import numpy as np
import pytest
import torch

from eeg_learning import TIMES, build, recordings
from learnmm_esi.inverse.fit import REFUSED
from learnmm_esi.networks.components import Components
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.sight import look, sight_of
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.networks.verdict import FACTS, JUDGED, Verdict, facts, linear_start
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.training.judging import judge, nearest_seed
from learnmm_esi.training.seen import OneHead


def usual(count: int, seed: int = 0) -> torch.Tensor:
    """Facts that follow from their context but for some noise."""
    drawn = torch.randn(count, FACTS, generator=torch.Generator().manual_seed(seed))
    drawn[:, :JUDGED] = 0.1 * drawn[:, :JUDGED]
    context = drawn[:, JUDGED:]
    drawn[:, :JUDGED] += 0.5 * context + context**2
    return drawn


def test_what_is_usual_passes_and_what_is_not_does_not() -> None:
    verdict = Verdict()
    assert bool(verdict(usual(50)).all()), "it accepts everything before it has learned"
    verdict.learn(usual(4000), torch.ones(4000, dtype=torch.bool))
    known = usual(4000, seed=1)
    share = float(verdict(known).float().mean())
    assert 0.94 < share < 0.99  # three limits of 99 %
    for fact in range(JUDGED):
        worse = known.clone()
        worse[:, fact] += 5.0
        assert not bool(verdict(worse).any())
        better = known.clone()
        better[:, fact] -= 5.0
        assert bool((verdict(better) >= verdict(known)).all()), "a better start is no worse"
    for fact in range(JUDGED, FACTS):
        for shift in (-9.0, 9.0):
            beyond = known.clone()
            beyond[:, fact] += shift
            assert not bool(verdict(beyond).any())


@pytest.mark.parametrize("channels", [16, 19, 32, 64, 90, 256])
def test_one_cap_is_known_after_its_file_has_rounded_it(channels: int) -> None:
    """The number of modes then is one number, as low as it is high."""
    found = usual(2000)
    found[:, -1] = float(torch.log(torch.tensor(channels - 1.0)))
    verdict = Verdict()
    verdict.learn(found, torch.ones(2000, dtype=torch.bool))
    before = verdict(found)
    assert float(before.float().mean()) > 0.94
    stored = Verdict()
    stored.load_state_dict({k: v.half() for k, v in verdict.state_dict().items()})
    assert float((stored(found) == before).float().mean()) > 0.98
    for factor in (0.9, 1.1):
        other = found.clone()
        other[:, -1] += math.log(factor)
        assert not bool(stored(other).any())


def test_too_few_right_starts_teach_nothing() -> None:
    verdict = Verdict()
    verdict.learn(usual(500), torch.arange(500) < 50)
    assert bool(verdict(100 * usual(50)).all())


def test_facts_have_no_units_and_no_signs(head) -> None:
    modes, sight = sight_of(head.leadfield)
    y = recordings(head, 5)["sensors"]
    seen = look(y / torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True), modes)
    maps = torch.randn(5, 4, 80, generator=torch.Generator().manual_seed(0))
    found = facts(sight, seen, Components(maps, seen.courses))
    scaled = facts(sight, seen, Components(-3e3 * maps, seen.courses))
    torch.testing.assert_close(scaled, found, rtol=1e-4, atol=1e-4)
    other = seen._replace(coefficients=-seen.coefficients)
    turned = facts(sight, other, Components(maps, seen.courses))
    torch.testing.assert_close(turned, found, rtol=1e-4, atol=1e-4)


@pytest.fixture
def doubtful(head) -> SourceSolver:
    """A solver that refuses what is not nearly noise-free, so some of its starts."""
    solver = build(head, "mm-net", start="learned")
    verdict = solver.energy.verdict
    assert verdict is not None
    sensors = recordings(head, 6)["sensors"]
    seen = solver.energy.look(sensors)
    assert solver.energy.sharpener is not None
    answer = solver.energy.sharpener(solver.energy.sight, seen)
    found = facts(solver.energy.sight, seen, answer).detach()
    verdict.low[:], verdict.high[:], verdict.limits[:] = -1e4, 1e4, 1e4
    verdict.limits[0] = found[:, 0].sort().values[2:4].mean()  # between two, and on none
    verdict.learned.fill_(True)
    return solver


def test_a_refused_start_leaves_the_linear_estimate_as_it_is(doubtful, head) -> None:
    sensors = recordings(head, 6)["sensors"]
    found = doubtful.reconstruct(sensors)
    assert found.refused is not None
    assert 0 < found.refused.sum() < 6
    energy = doubtful.energy
    linear = linear_start(energy.sight, energy.look(sensors)).sum()
    for one, expected in zip(
        found.sources[found.refused], linear[torch.from_numpy(found.refused)], strict=True
    ):
        cosine = float((one * expected.numpy()).sum())
        cosine /= float(np.linalg.norm(one) * np.linalg.norm(expected))
        assert cosine > 1 - 1e-5
    assert found.result is not None
    assert len(found.result.x) == int((~found.refused).sum())
    assert bool(found.result.certificate.monotone.all())
    for i in range(6):  # no recording hangs on its neighbours
        alone = doubtful.reconstruct(sensors[i : i + 1])
        assert alone.refused is not None
        assert bool(alone.refused[0]) == bool(found.refused[i])
        size = np.abs(found.sources[i]).max()
        np.testing.assert_allclose(alone.sources[0], found.sources[i], atol=2e-3 * size)


def test_estimates_say_which_start_was_taken(doubtful, head, tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    save_solver(path, doubtful, {"data": "erp"}, {}, half=False)
    again = load_solver(path, head)
    sensors = recordings(head, 6)["sensors"]
    np.testing.assert_array_equal(
        again.reconstruct(sensors).refused, doubtful.reconstruct(sensors).refused
    )


def test_a_trained_verdict_is_that_of_right_starts(head) -> None:
    energy = build(head, "mm-net", start="learned").energy
    groups = OneHead(ERPSimulator(head, seed=8, size=320, times=TIMES), head, 32)
    group = groups.group(0)
    distance = nearest_seed(group, group.seed_sources[:, 0])
    np.testing.assert_allclose(distance, 0.0)
    positions = np.asarray(head.positions)
    other = (group.seed_sources[:, 0] + 1) % len(positions)
    apart = np.linalg.norm(positions[other] - positions[group.seed_sources[:, 0]], axis=1)
    np.testing.assert_allclose(nearest_seed(group, other), 1e3 * apart)
    judge(energy, groups)
    with pytest.raises(ValueError, match="a start that is learned is needed, got 'sLORETA'"):
        judge(build(head, "mm-net").energy, groups)


def test_a_fallback_is_told_in_the_comment_and_the_fit(fsaverage_model, tmp_path) -> None:
    solver = build(fsaverage_model, "mm-net", start="learned")
    assert solver.energy.verdict is not None
    solver.energy.verdict.limits[:] = -1e4  # nothing passes
    solver.energy.verdict.learned.fill_(True)
    path = tmp_path / "none.safetensors"
    save_solver(path, solver, {"data": "erp"}, {}, half=False)
    sample = ERPSimulator(fsaverage_model, seed=2, times=TIMES).sample(0)
    evoked = mne.EvokedArray(sample.sensors, fsaverage_model.info(512.0), verbose="ERROR")
    evoked.set_eeg_reference(projection=True, verbose="ERROR")
    inverse = MMInverse(fsaverage_model, InverseSettings(weights=path))
    with pytest.warns(RuntimeWarning, match="learned start of the evoked was refused"):
        stc, fit = inverse.apply(evoked, return_result=True)
    assert fit.start == REFUSED
    assert len(fit.energies) == 1
    assert "learned one refused" in stc.comment
    assert str(fit).startswith("linear (learned one refused) start; energy")
