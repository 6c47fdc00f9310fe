"""Learning a family: what it buys, what it says where it buys nothing, and what outlives a kill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm import checks, storage
from learnmm.families import LearnedMemory, LearnSettings, Report
from learnmm.registry import Instance, Problem

DTYPE = torch.float64
QUICK = LearnSettings(
    instances=64, curved=64, hidden=8, fit=lmm.FitSettings(steps=40, validate_every=20)
)


@dataclass(frozen=True)
class Wells(Problem):
    """``f(x) = |A x - y|^2 / 2 + weight sum log cosh x_i``: a matrix for all, data and weight each.

    Parameters
    ----------
    shared : bool
        Whether all instances have the same matrix.
    informed : bool
        Whether instances tell their data.
    """

    name: ClassVar[str] = "wells"
    shared: bool = True
    informed: bool = True
    unknowns: int = 8

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw data, and a matrix where there is none."""
        n = self.unknowns
        of_matrix = torch.Generator().manual_seed(3) if self.shared else generator
        matrix = torch.randn(batch, n, n, generator=of_matrix, dtype=torch.float64)
        matrix = matrix[:1] if self.shared else matrix
        basis = torch.linalg.qr(matrix).Q
        matrix = (torch.logspace(0, 1.5, n, dtype=torch.float64)[:, None] * basis).to(dtype)
        truth = torch.randn(batch, n, generator=generator, dtype=torch.float64).to(dtype)
        weight = torch.rand(batch, 1, generator=generator, dtype=torch.float64).to(dtype)
        y = (matrix @ truth[:, :, None])[:, :, 0]

        def fun(x: Tensor) -> Tensor:
            off = (matrix @ x[:, :, None])[:, :, 0] - y
            return (off**2).sum(1) / 2 + (weight * x.cosh().log()).sum(1)

        data = torch.cat([y, weight], 1) if self.informed else None
        return Instance(fun, torch.zeros(batch, n, dtype=dtype), data=data)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> LearnedMemory:
    return lmm.learn(Wells(), QUICK, folder=tmp_path_factory.mktemp("wells"))


def test_what_is_shared_is_worth_learning(learned: LearnedMemory) -> None:
    report = learned.report
    assert report is not None
    assert report.pays
    assert report.learned.at(1e-6) <= report.plain.at(1e-6) / 2
    assert report.learned.monotone == report.learned.instances == 64
    text = str(report)
    assert "instead of" in text
    assert "pays for itself after" in text


def test_new_instances_are_solved(learned: LearnedMemory) -> None:
    new = Wells().instance(5, generator=torch.Generator().manual_seed(99))
    result = new.optimizer(proposer=learned).minimize(new.x0)
    by_hand = lmm.minimize(new.objective, new.x0, proposer=learned.given(new.data))
    assert torch.equal(result.x, by_hand.x)
    assert bool(result.success.all())
    assert bool(result.certificate.monotone.all())
    plain = lmm.minimize(new.objective, new.x0)
    # Both minimize a strictly convex function to the precision of its values.
    slack = 1e-12 * (plain.initial_fun - plain.fun)
    assert bool(((result.fun - plain.fun).abs() <= slack).all())


def test_the_laws_of_proposers_hold(learned: LearnedMemory) -> None:
    plain = replace_data(learned)
    checks.assert_proposer(plain, torch.randn(3, 8, dtype=DTYPE))


def replace_data(learned: LearnedMemory) -> LearnedMemory:
    """The same where every problem has the data zero, whatever the batch."""

    class Blank(LearnedMemory):
        def prepare(self, x: Tensor, gradient: Tensor):  # type: ignore[no-untyped-def]
            return learned.given(x.new_zeros(len(x), 9)).prepare(x, gradient)

    return Blank(learned.model, learned.under, learned.starts)


def test_where_nothing_is_shared_it_says_so() -> None:
    alone = lmm.learn(Wells(shared=False, informed=False, unknowns=24), QUICK)
    assert alone.report is not None
    assert not alone.report.pays
    assert "Learning buys nothing here" in str(alone.report)
    new = Wells(shared=False, informed=False, unknowns=24).instance(
        3, generator=torch.Generator().manual_seed(1)
    )
    ours = new.optimizer(proposer=alone).minimize(new.x0)
    plain = lmm.minimize(new.objective, new.x0, proposer=lmm.proposers.BFGS())
    assert torch.equal(ours.x, plain.x)


def test_a_file_holds_everything(learned: LearnedMemory, tmp_path: Path) -> None:
    path = tmp_path / "wells.safetensors"
    learned.save(path)
    loaded = LearnedMemory.load(path)
    assert loaded.report == learned.report
    assert (loaded.under, loaded.starts) == (learned.under, learned.starts)
    new = Wells().instance(4, generator=torch.Generator().manual_seed(5))
    result = new.optimizer(proposer=loaded).minimize(new.x0)
    assert bool(result.success.all())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"wells\.safetensors"):
        LearnedMemory.load(path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    lmm.save_weights(path, torch.nn.Linear(2, 2), {"anything": 1})
    with pytest.raises(ValueError, match="holds no learned family"):
        LearnedMemory.load(path)
    huge = {"shape": [10**9], "data": None, "directions": 1, "hidden": 1}
    lmm.save_weights(
        path, torch.nn.Linear(2, 2), {**huge, "under": "own", "starts": True, "history": 5}
    )
    with pytest.raises(ValueError, match="other"):
        LearnedMemory.load(path)


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [("history", 10**9), ("history", 2.7), ("history", True), ("starts", "no"), ("under", 3)],
)
def test_settings_of_a_file_that_are_none_are_refused(
    learned: LearnedMemory, tmp_path: Path, entry: str, wrong: Any
) -> None:
    path = tmp_path / "wells.safetensors"
    learned.save(path)
    _, config = lmm.load_weights(path)
    lmm.save_weights(path, learned.model.float(), {**config, entry: wrong})
    learned.model.double()
    with pytest.raises(ValueError, match=r"wells\.safetensors holds no learned family"):
        LearnedMemory.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        3, {}, {"learned": 3}, {"minutes": "a"}, {"seconds": [1.0]}, {"seconds": 3}, {"more": 1},
        {"under": "x"}, {"starts": "no"}, {"family": 3}, {"plain": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_report_that_is_none_is_refused(
    learned: LearnedMemory, tmp_path: Path, changes: Any
) -> None:
    path = tmp_path / "wells.safetensors"
    learned.save(path)
    _, config = lmm.load_weights(path)
    report = storage.load_notes(path)["report"]
    report = {**report, **changes} if changes and changes != 3 else changes
    lmm.save_weights(path, learned.model.float(), config, notes={"report": report})
    learned.model.double()
    with pytest.raises(ValueError, match=r"wells\.safetensors holds no learned family"):
        LearnedMemory.load(path)


def test_what_a_report_says_cannot_steer_a_terminal(learned: LearnedMemory, tmp_path: Path) -> None:
    path = tmp_path / "wells.safetensors"
    learned.save(path)
    _, config = lmm.load_weights(path)
    report = {**storage.load_notes(path)["report"], "family": "\x1b[2J"}
    lmm.save_weights(path, learned.model.float(), config, notes={"report": report})
    learned.model.double()
    assert "\x1b" not in str(LearnedMemory.load(path).report)


def test_a_call_that_was_killed_goes_on(tmp_path: Path) -> None:
    family = Wells(informed=False)
    whole = lmm.learn(family, QUICK, folder=tmp_path / "whole")
    kept = tmp_path / "whole" / "solved-000.safetensors"
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / kept.name).write_bytes(kept.read_bytes())
    again = lmm.learn(family, QUICK, folder=tmp_path / "killed")
    assert again.report is not None
    assert whole.report is not None
    assert again.report.learned == whole.report.learned
    with pytest.raises(ValueError, match="holds other instances"):
        lmm.learn(family, replace(QUICK, seed=1), folder=tmp_path / "killed")


class Unnamed(Wells):
    """Says nothing of itself that two processes would agree on."""

    __repr__ = object.__repr__


def test_a_family_is_known_again_by_what_it_draws(tmp_path: Path) -> None:
    family, quick = Unnamed(unknowns=5), replace(QUICK, instances=64)
    first = lmm.learn(family, quick, folder=tmp_path)
    again = lmm.learn(Unnamed(unknowns=5), quick, folder=tmp_path)  # another object, as elsewhere
    assert again.report is not None
    assert first.report is not None
    assert again.report.learned == first.report.learned
    with pytest.raises(ValueError, match="holds other instances than those that"):
        lmm.learn(Unnamed(unknowns=6), quick, folder=tmp_path)


def test_problems_of_another_kind_are_refused(learned: LearnedMemory) -> None:
    new = Wells().instance(2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ValueError, match=r"learned with data of shape \(2, 9\), got none: give it by"
    ):
        lmm.minimize(new.objective, new.x0, proposer=learned)
    with pytest.raises(ValueError, match=r"data of shape \(2, 9\), got \(2, 3\)"):
        lmm.minimize(new.objective, new.x0, proposer=learned.given(torch.zeros(2, 3, dtype=DTYPE)))
    other = Wells(unknowns=5).instance(2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"unknowns of shape \(8,\), got \(5,\)"):
        other.optimizer(proposer=learned).minimize(other.x0)


def test_families_that_cannot_be_learned_are_refused() -> None:
    with pytest.raises(TypeError, match="family must be a Problem, got str"):
        lmm.learn("wells")  # type: ignore[arg-type]
    for wrong in ({"instances": 3}, {"curved": 1}, {"hidden": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LearnSettings(**wrong)  # type: ignore[arg-type]


def test_reports_are_written_and_read(learned: LearnedMemory) -> None:
    assert learned.report is not None
    never = replace(learned.report, seconds=(2.0, 1.0))
    assert never.break_even == torch.inf
    assert Report.read(never.written()) == never
