"""Weights by name or path: what is found, what reads it, and errors that say what there is."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import learnmm as lmm
from learnmm import plugins
from learnmm.proposers.quasi_newton import WEIGHTS as QUASI_NEWTON
from learnmm.storage import pretrained

RULE = "learnmm.proposers.quasi_newton:WEIGHTS"
FAMILY = "learnmm.families:WEIGHTS"


def plug_in(monkeypatch: pytest.MonkeyPatch, *named: tuple[str, str]) -> None:
    entries = [EntryPoint(name, value, pretrained.GROUP) for name, value in named]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)


def test_a_name_gives_the_module_with_its_weights() -> None:
    learned = lmm.load_pretrained("quasi-newton", history=7)
    shipped = lmm.proposers.LearnedQuasiNewton.pretrained(7)
    assert isinstance(learned, lmm.proposers.LearnedQuasiNewton)
    assert learned.history == 7
    for mine, theirs in zip(learned.parameters(), shipped.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_file_is_read_by_what_it_is_of(monkeypatch, tmp_path: Path) -> None:
    """Whatever else is installed, and broken."""
    plug_in(monkeypatch, ("a", "no_such_package:WEIGHTS"), ("b", FAMILY), ("c", RULE), ("c", RULE))
    file = tmp_path / "mine.safetensors"
    lmm.proposers.LearnedQuasiNewton.pretrained().save(file)
    assert isinstance(lmm.load_pretrained(file), lmm.proposers.LearnedQuasiNewton)
    assert isinstance(lmm.load_pretrained(str(file)), lmm.proposers.LearnedQuasiNewton)


def test_a_family_is_read_from_its_file(tmp_path: Path) -> None:
    from learnmm.families.learned import LearnedMemory
    from learnmm.families.model import FamilyModel, Sizes

    saved = LearnedMemory(FamilyModel(Sizes((3,), None, 2, 4)).double(), "own", False, 5)
    saved.save(tmp_path / "family.safetensors")
    found = lmm.load_pretrained(tmp_path / "family.safetensors")
    assert isinstance(found, LearnedMemory)
    assert (found.history, found.under) == (saved.history, saved.under)


def test_unknown_names_list_what_is_installed(monkeypatch) -> None:
    plug_in(monkeypatch, ("family", FAMILY), ("quasi-newton", RULE))
    with pytest.raises(FileNotFoundError, match="'x'; installed weights: family, quasi-newton"):
        lmm.load_pretrained("x")
    with pytest.raises(FileNotFoundError, match="no file comes with 'family': give the path"):
        lmm.load_pretrained("family")


def test_names_that_two_packages_claim_are_refused(monkeypatch) -> None:
    plug_in(monkeypatch, ("same", FAMILY), ("same", RULE))
    with pytest.raises(ImportError, match=f"called 'same': '{FAMILY}', '{RULE}'"):
        lmm.load_pretrained("same")


def test_broken_plug_ins_say_which_they_are(monkeypatch, tmp_path: Path) -> None:
    plug_in(monkeypatch, ("gone", "no_such_package:WEIGHTS"), ("odd", "learnmm:minimize"))
    with pytest.raises(ImportError, match=r"weights 'gone' could not be loaded .*ModuleNotFound"):
        lmm.load_pretrained("gone")
    with pytest.raises(TypeError, match="'odd', 'learnmm:minimize', must name a Pretrained, got f"):
        lmm.load_pretrained("odd")
    file = tmp_path / "mine.safetensors"
    lmm.proposers.LearnedQuasiNewton.pretrained().save(file)
    with pytest.raises(ValueError, match=r"nothing installed reads; .*'gone'.*; .*'odd'"):
        lmm.load_pretrained(file)


def test_files_of_nothing_that_is_known_are_refused(tmp_path: Path) -> None:
    lmm.save_weights(tmp_path / "mine.safetensors", torch.nn.Linear(2, 1), {"mine": True})
    with pytest.raises(ValueError, match=r"mine\.safetensors holds weights that nothing installed"):
        lmm.load_pretrained(tmp_path / "mine.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="no complete safetensors file"):
        lmm.load_pretrained(tmp_path / "other.safetensors")
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        lmm.load_pretrained("quasi-newton", size=3)


def test_every_installed_name_has_its_file() -> None:
    installed = {
        name: entry.load()
        for name, claims in pretrained.PLUGINS.entries().items()
        for entry in claims.values()
    }
    assert {"family", "quasi-newton", "mm-net"} <= installed.keys()
    assert installed["quasi-newton"] is QUASI_NEWTON
    for name, found in installed.items():
        assert found.path is None or found.path.is_file(), name
