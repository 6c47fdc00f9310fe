"""The names that the package offers: each is where it is said to be."""

from __future__ import annotations

import pytest

import learnmm_esi as esi


@pytest.mark.parametrize("name", esi.__all__)
def test_every_public_name_is_found(name: str) -> None:
    assert getattr(esi, name).__name__ == name
    assert name in dir(esi)


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'learnmm_esi' has no attribute 'apply'"):
        _ = esi.apply
