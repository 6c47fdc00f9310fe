"""The metrics of Table I, by hand and against code that others wrote."""

from __future__ import annotations

from types import SimpleNamespace

import mne
import numpy as np
import pytest
import torch
from mne.simulation import metrics as mne_metrics
from scipy import sparse

from learnmm_esi.metrics import Evaluator, SourceMetrics

SFREQ = 100.0


@pytest.fixture
def path_model():
    """Five regions in a row along x, 3 cm apart."""
    edges = sparse.diags([np.ones(4), np.ones(4)], [-1, 1], dtype=bool).tocsr()
    return SimpleNamespace(
        positions=0.03 * np.arange(5.0)[:, None] * np.array([1.0, 0.0, 0.0]), neighbours=edges
    )


@pytest.fixture
def truth():
    """Regions 0 (the seed) and 1 active, peak at the third sample."""
    x = np.zeros((5, 4))
    x[0] = [0.0, 1.0, -4.0, 2.0]
    x[1] = [0.0, 0.5, -2.0, 1.0]
    return x


@pytest.fixture
def estimate():
    x = np.zeros((5, 4))
    x[0] = [0.0, 0.0, 1.0, 0.0]
    x[1] = [0.0, 0.0, -2.0, 3.0]
    x[3] = [0.0, 0.0, 1.5, 0.0]
    x[4] = [0.0, 0.0, 5.0, 0.0]
    return x


def test_hand_computed_example(path_model, truth, estimate):
    result = Evaluator(path_model, SFREQ, window_hops=2)(truth, estimate, 0)
    # At t* = 2 the scores are 1, 2, 0, 1.5, 5: region 1 within two hops, region 4 overall.
    assert result.localization_error == pytest.approx([30.0])
    assert result.localization_error_global == pytest.approx([120.0])
    # Region 1 peaks one sample late.
    assert result.time_error == pytest.approx([10.0])
    # Positives 1 and 2 against 0, 1.5 and 5: pairs won 1 + 2 of 6.
    assert result.auc == pytest.approx([0.5])
    # Maps over their largest absolute value: (-1, -.5, 0, 0, 0) and (.2, -.4, 0, .3, 1).
    assert result.nmse == pytest.approx([(1.44 + 0.01 + 0.09 + 1.0) / 5])
    # Arrays over theirs, 4 and 5: peak (-1 - 1), squared error of the 20 entries as below.
    squares = 0.25**2 + 1.2**2 + 0.5**2 + 0.125**2 + 0.1**2 + 0.35**2 + 0.3**2 + 1.0
    assert result.psnr == pytest.approx([10 * np.log10(4.0 / (squares / 20))])
    assert result.summary()["time_error"] == pytest.approx(10.0)


def test_the_default_window_is_seven_hops():
    n = 12
    edges = sparse.diags([np.ones(n - 1)] * 2, [-1, 1], dtype=bool).tocsr()
    model = SimpleNamespace(
        positions=np.eye(n, 3) * 0 + 0.01 * np.arange(n)[:, None], neighbours=edges
    )
    x, y = np.zeros((n, 2)), np.zeros((n, 2))
    x[0, 1] = 1.0
    y[7, 1], y[8, 1] = 1.0, 2.0
    result = Evaluator(model, SFREQ)(x, y, 0)
    assert result.localization_error == pytest.approx([70.0 * np.sqrt(3)])
    assert result.localization_error_global == pytest.approx([80.0 * np.sqrt(3)])


def test_a_perfect_estimate_at_any_scale(path_model, truth):
    result = Evaluator(path_model, SFREQ)(truth, 1e-9 * truth, 0)
    assert result.summary() == {
        "localization_error": 0.0,
        "localization_error_global": 0.0,
        "time_error": 0.0,
        "auc": 1.0,
        "nmse": pytest.approx(0.0, abs=1e-30),
        "psnr": pytest.approx(np.inf) if np.isinf(result.psnr[0]) else pytest.approx(320, abs=40),
    }


def random_batch(model, batch=6, times=20):
    generator = np.random.default_rng(0)
    n = len(model.positions)
    x, y = np.zeros((batch, n, times)), generator.standard_normal((batch, n, times))
    seeds = generator.integers(n, size=batch)
    for b, s in enumerate(seeds):
        active = np.append(model.neighbours[s].indices, s)
        x[b, active] = generator.uniform(0.2, 0.9, (len(active), 1)) * np.sin(np.arange(times) + b)
    return x, y + 3 * x, seeds


def test_a_batch_is_its_samples_one_by_one(small_model):
    x, y, seeds = random_batch(small_model)
    evaluator = Evaluator(small_model, SFREQ, window_hops=2)
    together = evaluator(x, y, seeds)
    singly = SourceMetrics.concatenate(
        [evaluator(a, b, s) for a, b, s in zip(x, y, seeds, strict=True)]
    )
    assert len(together) == len(x)
    for name in together.summary():
        np.testing.assert_allclose(getattr(together, name), getattr(singly, name), rtol=1e-12)


def test_tensors_and_float32_do(small_model):
    x, y, seeds = random_batch(small_model)
    evaluator = Evaluator(small_model, SFREQ)
    estimate = torch.tensor(y, dtype=torch.float32, requires_grad=True)
    result = evaluator(torch.tensor(x, dtype=torch.float32), estimate, torch.tensor(seeds))
    for name, value in evaluator(x, y, seeds).summary().items():
        assert result.summary()[name] == pytest.approx(value, rel=1e-5)


def source_estimate(data, model):
    """Wrap (sources, 1) for `mne.simulation.metrics`, on a source space of two hemispheres."""
    half = len(model.positions) // 2
    vertices = [np.arange(half), np.arange(len(model.positions) - half)]
    return mne.SourceEstimate(data, vertices, tmin=0.0, tstep=1 / SFREQ)


def test_auc_and_global_localization_equal_mne_python(small_model):
    x, y, seeds = random_batch(small_model)
    result = Evaluator(small_model, SFREQ)(x, y, seeds)
    half = len(small_model.positions) // 2
    space = [{"rr": small_model.positions[:half]}, {"rr": small_model.positions[half:]}]
    for b, s in enumerate(seeds):
        t = np.abs(x[b, s]).argmax()
        true, found = (source_estimate(v[b][:, [t]], small_model) for v in (x, y))
        auc = mne_metrics.roc_auc_score(true, found, per_sample=False)
        assert result.auc[b] == pytest.approx(auc, rel=1e-12)
        # MNE-Python wants one true dipole; at this threshold only the peak is left of the estimate.
        vertices = [[s], []] if s < half else [[], [s - half]]
        dipole = mne.SourceEstimate(np.ones((1, 1)), [np.array(v, int) for v in vertices], 0.0, 1.0)
        error = mne_metrics.peak_position_error(
            dipole, found, space, threshold="99.999%", per_sample=False
        )
        assert result.localization_error_global[b] == pytest.approx(1e3 * error, rel=1e-9)


def test_the_worst_sample_does_not_touch_the_others(small_model):
    x, y, seeds = random_batch(small_model)
    evaluator = Evaluator(small_model, SFREQ)
    before = evaluator(x, y, seeds)
    y[0] *= -1e6
    after = evaluator(x, y, seeds)
    for name in before.summary():
        assert (getattr(before, name)[1:] == getattr(after, name)[1:]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y, s: (x, y[:, :-1], s), "shape"),
        (lambda x, y, s: (x[:, :-1], y[:, :-1], s), "shape"),
        (lambda x, y, s: (x[..., :0], y[..., :0], s), "nothing to evaluate"),
        (lambda x, y, s: (x, y, s[:-1]), "seed_source must hold 6"),
        (lambda x, y, s: (x, y, s.astype(float)), "integers"),
        (
            lambda x, y, s: (x, y * np.where(np.arange(6) == 2, np.nan, 1)[:, None, None], s),
            r"\[2\]",
        ),
        (lambda x, y, s: (x * np.inf, y, s), "truth is not finite"),
        (lambda x, y, s: (x * 0, y, s), "empty patch"),
        (lambda x, y, s: (np.ones_like(x), y, s), "every region is active"),
        (lambda x, y, s: (x, y * 0, s), "estimate is zero"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_misuse_is_named(small_model, spoil, message):
    with pytest.raises(ValueError, match=message):
        Evaluator(small_model, SFREQ)(*spoil(*random_batch(small_model)))


def test_settings_are_checked(small_model):
    x, y, _ = random_batch(small_model)
    with pytest.raises(IndexError, match=r"0\.\.79"):
        Evaluator(small_model, SFREQ)(x, y, np.full(6, 80))
    with pytest.raises(ValueError, match="sfreq"):
        Evaluator(small_model, 0.0)
    with pytest.raises(ValueError, match="window_hops"):
        Evaluator(small_model, SFREQ, window_hops=-1)
    with pytest.raises(ValueError, match="nothing to join"):
        SourceMetrics.concatenate([])
