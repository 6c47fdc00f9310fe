"""Unknowns of which two processes hold a part each are minimized as in one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import learnmm as lmm
from processes import told_by_two

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")

N = 7
"""Unknowns, which two processes cannot share evenly."""

WEIGHTS = torch.linspace(1, 9, N, dtype=torch.float64)
START = torch.randn(3, N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CURVED = 9 + 4.0
"""Largest curvature of the function; the least is 1."""


def fun(x: Any, weights: Any = WEIGHTS) -> Any:
    """Neighbours are coupled, across parts too."""
    chain = (x[..., 1:] - x[..., :-1]).square().sum(-1)
    return (weights * (x - 1).square()).sum(-1) / 2 + chain / 2


def shared(whole: Tensor, dim: int) -> Any:
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    return distribute_tensor(whole, init_device_mesh("cpu", (2,)), [Shard(dim)])


def both(dim: int, start: Tensor, **options: Any) -> tuple[Any, Any]:
    """Minimized in two parts, and in one."""
    weights = shared(WEIGHTS, 0)
    parts = lmm.minimize(lambda x: fun(x, weights), shared(start, dim), **options)
    return parts, lmm.minimize(fun, start, **options)


def own_steps(rank: int) -> str:
    """Each contracts the error of the last and adds its own rounding: a gradient of ten terms."""
    steps = 12
    parts, one = both(
        1,
        START,
        proposer=None,
        majorant=lmm.majorants.LipschitzMajorant(CURVED),
        settings=lmm.SolveSettings(max_iter=steps),
    )
    size = START.abs().max() + 1
    allowed = steps * 10 * torch.finfo(torch.float64).eps * CURVED * size
    assert (parts.x.full_tensor() - one.x).abs().max() <= allowed
    assert parts.x.to_local().shape[1] == (4, 3)[rank]
    assert torch.equal(parts.iterations, one.iterations)
    return f"{parts.fun.tolist()} {parts.certificate}"


def memory(dim: int, start: Tensor) -> str:
    """Curvature of at least 1 keeps what a gradient leaves from its minimum by no more than it."""
    parts, one = both(dim, start, settings=lmm.SolveSettings(gtol=1e-9))
    assert bool((parts.success & one.success).all())
    assert bool(parts.certificate.monotone.all())
    apart = parts.x.full_tensor() - one.x
    allowed = parts.gradient.full_tensor().norm(dim=-1) + one.gradient.norm(dim=-1)
    assert bool((apart.norm(dim=-1) <= 1.01 * allowed + 1e-14).all())
    assert str(parts).splitlines()[0] == str(one).splitlines()[0]
    return f"{parts.fun.tolist()} {parts.status.tolist()} {parts.certificate}"


def batch(rank: int) -> str:
    return memory(1, START)


def single(rank: int) -> str:
    return memory(0, START[0])


def refused(x: Any, **options: Any) -> str:
    try:
        lmm.minimize(options.pop("fun", fun), x, **options)
    except (TypeError, ValueError) as error:
        return str(error)
    return "nothing raised"


def errors(rank: int) -> str:
    """One line each; a NaN in one part alone is known to both."""
    spoilt = START.clone()
    spoilt[0, -1] = torch.nan
    x = shared(START, 1)
    told = [
        refused(shared(spoilt, 1)),
        refused(shared(START, 0)),
        refused(x, proposer=None),
        refused(x, proposer=lmm.proposers.CoordinatewiseLSTM()),
        refused(x, compiled=True),
        refused(x, fun=lmm.Quadratic(START)),
        refused(shared(START[:, :1], 1)),
    ]
    return "\n".join(told)


CASES = {case.__name__: case for case in (own_steps, batch, single, errors)}


@pytest.fixture(scope="module")
def told() -> dict[str, list[str]]:
    """What both processes said in every case."""
    return told_by_two(CASES)


@pytest.mark.parametrize("case", ["own_steps", "batch", "single"])
def test_two_processes_find_what_one_does_and_agree_to_the_bit(
    told: dict[str, list[str]], case: str
) -> None:
    first, second = told[case]
    assert first == second
    assert "every step verified" in first


def test_misuse_raises_on_both_processes(told: dict[str, list[str]]) -> None:
    first, second = told["errors"]
    assert first == second
    finite, problems, products, networks, compiled, atoms, short = first.splitlines()
    assert finite == "x0 has NaN or infinite entries"
    assert "problems of a batch need no other process" in problems
    assert "give a majorant such as majorants.LipschitzMajorant" in products
    assert "got CoordinatewiseLSTM" in networks
    assert "cannot be compiled" in compiled
    assert "a function of the whole DTensor, got Quadratic" in atoms
    assert "dimension 1 of 1 is too short for 2 processes" in short
