"""Settings of the whole suite: one thread unless told otherwise, one seed, the same examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from zlib import crc32

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(int(os.environ.get("LEARNMM_TEST_THREADS", "1")))

settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# The first of the same examples and some of the same cases, where the suite is repeated on
# another path.
settings.register_profile("few", settings.get_profile("deterministic"), max_examples=10)
# HYPOTHESIS_PROFILE=search looks further, with new examples on every run.
settings.register_profile(
    "search",
    settings.get_profile("deterministic"),
    derandomize=False,
    database=None,
    max_examples=500,
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "deterministic")
settings.load_profile(PROFILE)
FEW_CASES = 12
"""Of each test, under the profile ``few``."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under the profile ``few``, keep a few of the cases of each test, the same each time."""
    if PROFILE != "few":
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    # Evenly spaced cases of two parameters could all have one value of the second: hence by hash.
    kept = {
        item
        for of_one in cases.values()
        for item in sorted(of_one, key=lambda item: crc32(item.nodeid.encode()))[:FEW_CASES]
    }
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Seed what draws from the global generator, such as the start vectors of Lanczos."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    # A test that leaves torch inside of a transformation would fail its neighbours instead.
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        pass
