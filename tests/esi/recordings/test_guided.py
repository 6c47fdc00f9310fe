"""Weights that say where to look: the evidence decides, and without them it is as it was."""

from __future__ import annotations

import warnings

import mne
import numpy as np
import pytest
import torch

import learnmm as lmm
from eeg_learning import build
from eeg_recordings import SFREQ, TIMES, save_untrained
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.inverse.fit import GUIDED, UNHEARD
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.guided import GuidedInverse
from learnmm_esi.recordings.learned import LearnedInverse
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.recordings.uncertainty import BANDWIDTHS


@pytest.fixture(scope="module")
def refusing(model, tmp_path_factory):
    """Weights whose verdict lets no start pass."""
    solver = build(model, "mm-net", Recordings(TIMES, None), start="learned", steps=2)
    assert solver.energy.verdict is not None
    solver.energy.verdict.limits[:] = -1e4
    solver.energy.verdict.learned.fill_(True)
    path = tmp_path_factory.mktemp("weights") / "refusing.safetensors"
    save_solver(path, solver, {"data": "erp"}, {}, half=False)
    return path


def guided(model, weights):
    return MMInverse(model, InverseSettings(weights=weights, guided=True))


def test_the_evidence_decides_on_what_the_start_expects(model, sensors, any_weights) -> None:
    learned = LearnedInverse(any_weights, model).seeing(model.leadfield)
    found = GuidedInverse(learned, model).reconstruct(sensors)
    power = learned.solver.energy.start(torch.from_numpy(sensors)).detach().double().square()
    expected = EvidenceEnergy(model).reconstruct(sensors, expected=power.sum(2))
    size = np.abs(expected.sources).max()
    np.testing.assert_allclose(found.sources, expected.sources, rtol=0, atol=1e-5 * size)
    assert found.start == GUIDED
    assert found.refused is not None
    assert not found.refused.any()
    assert found.result is not None
    assert found.result.certificate.kind is lmm.Kind.GLOBAL
    assert bool(found.result.certificate.monotone.all())
    plain = EvidenceEnergy(model).reconstruct(sensors)
    assert not np.allclose(found.sources, plain.sources, atol=1e-3 * np.abs(plain.sources).max())


def test_an_estimate_says_that_it_was_guided(model, evoked, epochs, any_weights) -> None:
    inverse = guided(model, any_weights)
    assert repr(inverse).endswith("weights='any.safetensors', guided)")
    stc, fit = inverse.apply(evoked, return_result=True)
    assert fit.start == GUIDED
    assert stc.comment == "learnmm, guided start"
    assert fit.noise is not None
    assert fit.kind is lmm.Kind.GLOBAL
    for one, alone in zip(inverse.apply(epochs), epochs.iter_evoked(copy=True), strict=True):
        found = inverse.apply(alone).data  # whatever its neighbours are
        np.testing.assert_allclose(one.data, found, atol=1e-3 * np.abs(found).max())


def test_draws_are_not_guided_and_may_disagree(model, evoked, sensors, any_weights) -> None:
    inverse = guided(model, any_weights)
    told = inverse.uncertainty(evoked, draws=3).comment
    assert f"bandwidth {1e3 * BANDWIDTHS['guided']:.1f} mm, 3 draws" in told
    drawn, plain = (
        one._engine.of(evoked.info).prepare(evoked.info, None)
        for one in (inverse, MMInverse(model, InverseSettings()))
    )
    found = drawn.reconstruct(sensors, guided=False).sources
    np.testing.assert_array_equal(found, plain.reconstruct(sensors).sources)
    assert not np.array_equal(found, drawn.reconstruct(sensors).sources)


def test_where_the_start_is_refused_nothing_learned_is_used(model, evoked, refusing) -> None:
    with pytest.warns(RuntimeWarning, match="was refused, .* is that of the solver without weigh"):
        stc, fit = guided(model, refusing).apply(evoked, return_result=True)
    assert fit.start == UNHEARD
    plain, expected = MMInverse(model, InverseSettings()).apply(evoked, return_result=True)
    np.testing.assert_array_equal(stc.data, plain.data)
    np.testing.assert_array_equal(fit.energies, expected.energies)


def test_a_start_that_is_not_finite_is_not_heard(model, sensors, any_weights) -> None:
    learned = LearnedInverse(any_weights, model).seeing(model.leadfield)
    sharpener = learned.solver.energy.sharpener
    assert sharpener is not None
    torch.nn.init.constant_(next(sharpener.parameters()), torch.nan)
    found = GuidedInverse(learned, model).reconstruct(sensors)
    assert found.refused is not None
    assert found.refused.all()
    plain = EvidenceEnergy(model).reconstruct(sensors)
    np.testing.assert_array_equal(found.sources, plain.sources)


def test_any_channels_lengths_and_rates(model, raw, any_weights) -> None:
    inverse = guided(model, any_weights)
    raw.info["bads"] = raw.ch_names[2:5]
    shorter = raw.copy().resample(SFREQ / 2, verbose="ERROR")
    for inst in (raw, shorter):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the estimate explains", RuntimeWarning)
            stc = inverse.apply(mne.EvokedArray(inst.get_data(), inst.info))
        assert np.isfinite(stc.data).all()


def test_weights_without_a_learned_start_cannot_guide(model, evoked, tmp_path) -> None:
    path = save_untrained(tmp_path / "modgrad.safetensors", model, "modgrad")
    with pytest.raises(ValueError, match=r"weights with a learned start, .* start from sLORETA"):
        guided(model, path).apply(evoked)
    with pytest.raises(ValueError, match="guided=True says how to use weights, and there are none"):
        InverseSettings(guided=True)
