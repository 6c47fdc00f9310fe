"""Figures that go to no screen and are closed, and a head model without places."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from learnmm_esi.head.from_leadfield import head_model_from_leadfield

matplotlib.use("agg")
import matplotlib.pyplot as plt


@pytest.fixture(scope="session")
def model(coarse_model):
    return coarse_model


@pytest.fixture
def bare():
    """A lead field alone: sensors without places, sources without regions."""
    gain = 100 * np.random.default_rng(0).normal(size=(4, 5))
    graph = np.eye(5, k=1) + np.eye(5, k=-1)
    return head_model_from_leadfield(gain, np.zeros((5, 3)), graph, list("abcd"))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")
