"""Multiclass regression on real data: the same minimum as scikit-learn's, and clear refusals."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import learnmm as lmm
from draws import seeded
from learnmm_problems.softmax_regression import SoftmaxRegressionProblem, load

BATCH = 3


def parts(drawn: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, class numbers and ridges of an instance."""
    fit, ridge = drawn.objective.parts
    return fit.linear.matrix, fit.atom.targets[0].argmax(1), ridge.weight.flatten()


@pytest.mark.parametrize(("data", "samples"), [("iris", 100), ("digits", 60)])
def test_the_minimum_is_that_of_scikit_learn(data: Any, samples: int) -> None:
    drawn = SoftmaxRegressionProblem(data, samples).instance(BATCH, generator=seeded())
    features, labels, ridges = parts(drawn)
    assert drawn.minimizer is not None
    assert drawn.optimum is not None
    for row, ridge in enumerate(ridges.tolist()):
        model = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=10_000)
        model.fit(features.numpy(), labels.numpy())
        expected = torch.from_numpy(model.coef_).mT
        if expected.shape == drawn.minimizer[row].shape:  # every class was drawn
            torch.testing.assert_close(drawn.minimizer[row], expected, rtol=0, atol=1e-4)
        point = drawn.minimizer.clone()
        point[row] = expected
        theirs = float(drawn.objective(point)[row])
        assert float(drawn.optimum[row]) == pytest.approx(theirs, abs=1e-7)
        assert float(drawn.optimum[row]) <= theirs + 1e-12


def test_solving_reaches_it_without_a_refusal() -> None:
    drawn = SoftmaxRegressionProblem().instance(BATCH, generator=seeded())
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=400)).minimize(drawn.x0)
    assert int(result.certificate.rejected.sum()) == 0
    assert (result.fun - drawn.optimum < 2e-3 * (result.initial_fun - drawn.optimum)).all()
    features, labels, _ = parts(drawn)
    right = ((features @ result.x).argmax(-1) == labels).double().mean(1)
    assert (right > 0.95).all()


def test_ridges_are_those_of_the_problem() -> None:
    drawn = SoftmaxRegressionProblem().instance(200, generator=seeded())
    ridges = parts(drawn)[2]
    assert float(ridges.min()) == pytest.approx(0.01, rel=0.1)
    assert float(ridges.max()) == pytest.approx(1.0, rel=0.1)
    assert drawn.optimum is not None
    order = ridges.argsort()
    assert (drawn.optimum[order].diff() > 0).all()


@pytest.mark.parametrize(("data", "shape", "classes"), [("iris", 4, 3), ("digits", 64, 10)])
def test_features_are_scaled_and_have_a_constant(data: str, shape: int, classes: int) -> None:
    features, labels = load(data)
    assert features.shape == (len(labels), shape + 1)
    assert set(labels.tolist()) == set(range(classes))
    size = features.square().mean(0).sqrt()
    used = size > 0
    torch.testing.assert_close(size[used], torch.ones_like(size[used]))
    assert used.sum() >= shape + 1 - 3
    assert (features[:, -1] == 1).all()


def test_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \('iris', 'wine', 'digits'\), got 'barley'"):
        SoftmaxRegressionProblem("barley").instance(1)  # type: ignore[arg-type]


def test_scikit_learn_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"from scikit-learn: pip install 'learnmm\[toy\]'"):
        SoftmaxRegressionProblem().instance(1)
