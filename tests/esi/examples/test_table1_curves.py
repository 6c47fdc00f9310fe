"""How the methods learn: what a training had come to by so many recordings, and no later."""

from __future__ import annotations

import json

import pytest

from scripts import script

curves = script("esi", "table1_curves")
TITLES = {"erp": "Potentials", "nmm-two": "Two patches"}


def written(folder, name: str, batch: int = 16) -> None:
    """A training whose validations say how many steps there were."""
    looks = [
        {"recordings": batch * step, "loss": 1.0, "LE": float(step), "AUC": 90.0, "PSNR": 20.0}
        for step in range(10, 101, 10)
    ]
    course = {
        "minutes": 10.0,
        "rate": 3e-3,
        "steps": 100,
        "recordings_of_start": 0,
        "validations": looks,
    }
    (folder / f"{name}-course.json").write_text(json.dumps(course))
    rates = {"minutes": 2.0, "steps": 20, "losses": {"0.001": 0.4, "0.003": 0.3}}
    (folder / f"{name}-rates.json").write_text(json.dumps(rates))


@pytest.fixture
def folder(tmp_path):
    for name in ("mm-net-a-noise-erp", "mm-net-learned-nmm-two", "r-mm-net-sLORETA-erp"):
        written(tmp_path, name)
    return tmp_path


def test_names_are_taken_apart_and_methods_in_order(folder) -> None:
    assert [course[:3] for course in curves.courses(folder)] == [
        ("r-mm-net", "sLORETA", "erp"),
        ("mm-net-a", "noise", "erp"),
        ("mm-net", "learned", "nmm-two"),
    ]


def test_at_a_number_of_recordings_stands_the_last_validation_before(folder) -> None:
    course = curves.courses(folder)[0]
    assert course.at(500)["LE"] == 30.0  # 480 recordings, the next being 640
    assert course.at(1600)["LE"] == 100.0
    assert course.at(100) is None  # before the first
    assert course.at(1601) is None  # it was not trained that far


def test_the_page_has_every_training_and_its_best_rate(folder, tmp_path) -> None:
    text = curves.page(folder, TITLES, tmp_path / "curves.png")
    assert "same 10 minutes of one core" in text
    assert "| r-mm-net | sLORETA | 0.003 | 1600 | 30.0 / 90.0 / 20.0 |" in text
    assert "| mm-net | nmm-two | 2 | 20 | 0.400 | **0.300** |" in text
    assert (tmp_path / "curves.png").stat().st_size > 10_000
