"""Settings of the head model: each is part of its name, and what cannot be is refused."""

from __future__ import annotations

import pytest

from learnmm_esi.cache import (
    cache_key,
)
from learnmm_esi.head.settings import HeadModelSettings

SMALL = HeadModelSettings(sources=60, ico=2)


def test_every_setting_and_version_changes_the_name(monkeypatch, tmp_path):
    names = {cache_key(vars(SMALL))}
    others = {
        "sources": 61,
        "ico": 3,
        "surface": "white",
        "column": "vertex",
        "conductivity": (0.33, 0.0066, 0.33),
        "skull": "constant",
        "min_depth": 0.004,
    }
    assert others.keys() == vars(SMALL).keys()
    for name, value in others.items():
        names.add(cache_key({**vars(SMALL), name: value}))
    assert len(names) == 1 + len(others)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": 1}, "sources must be an int in 2..10242, got 1"),
        ({"sources": 99.5}, "sources must be an int in 2..10242, got 99.5"),
        ({"ico": 9}, r"ico must be one of \(2, 3, 4, 5\), got 9"),
        ({"surface": "inflated"}, "surface must be one of .*, got 'inflated'"),
        ({"column": "mean"}, "column must be one of .*, got 'mean'"),
        ({"skull": "none"}, "skull must be one of .*, got 'none'"),
        ({"conductivity": (0.33, 0.33)}, "three positive numbers"),
        ({"conductivity": (0.33, 0.0, 0.33)}, "three positive numbers"),
        ({"min_depth": 5.0}, "between 0 and 0.02 metres, got 5.0"),
    ],
)
def test_wrong_settings_are_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        HeadModelSettings(**wrong)
