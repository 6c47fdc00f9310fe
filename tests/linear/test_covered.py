"""No direction is dropped: structured bounds hold to rounding at a thousand unknowns."""

import pytest
import torch

import learnmm as lmm
from draws import normal
from learnmm.checks import LawViolation, assert_dominates, assert_majorant
from learnmm.linear import Form
from learnmm.linear.matrix import SEEN

N = 1000
by_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def reflected(spectrum, seed=0):
    """A square matrix of that spectrum: two reflections turn the axes."""
    u, v = (x / torch.linalg.vector_norm(x) for x in normal(2, len(spectrum), seed=seed))
    left = torch.diag(spectrum) - 2 * torch.outer(u, u * spectrum)
    return left - 2 * torch.outer(left @ v, v)


def spectrum(least, n=N):
    return torch.logspace(0, torch.tensor(least).log10().item(), n, dtype=torch.float64)


def one(dtype, batch=2):
    return lmm.curvature.ScalarCurvature(torch.ones(batch, dtype=dtype))


CASES = [(torch.float32, 1e-4), (torch.float32, 1e-8), (torch.float64, 1e-13)]
by_case = pytest.mark.parametrize(("dtype", "least"), CASES, ids=str)


@pytest.fixture(scope="module")
def maps():
    return {case: lmm.linear.MatrixMap(reflected(spectrum(case[1])).to(case[0])) for case in CASES}


@by_case
def test_pulled_back_curvatures_dominate(maps, dtype, least):
    linear, x = maps[dtype, least], torch.zeros(2, N, dtype=dtype)
    pulled = linear.pull_back(one(dtype), x)
    assert_dominates(pulled, linear, x)
    # Densely, in float64, against the rounding of A v in the dtype of the matrix.
    bound = torch.diag(pulled.spectrum[0].double().sqrt()) @ pulled.basis.double().mT
    rounding = SEEN * torch.finfo(dtype).eps * torch.eye(N, dtype=torch.float64)
    difference = bound.mT @ bound + rounding**2 - linear.matrix.double().mT @ linear.matrix.double()
    assert float(torch.linalg.eigvalsh(difference)[0]) > -1e-14


@by_case
def test_dropped_directions_are_found(maps, dtype, least):
    """Leave out singular values below ``n eps s_0``."""
    linear, x = maps[dtype, least], torch.zeros(2, N, dtype=dtype)
    values, basis = linear.svd
    kept = int((values > N * torch.finfo(dtype).eps * values[0]).sum())
    assert kept < len(values)
    cut = lmm.curvature.LowRankCurvature(
        torch.zeros(2, dtype=dtype), (values[:kept] ** 2).expand(2, kept), basis[:, :kept]
    )
    with pytest.raises(LawViolation, match=r"A\^T C A <= B: problem \d has \|A v\|"):
        assert_dominates(cut, linear, x)
    atom = lmm.least_squares(linear, normal(2, N, seed=1).to(dtype))
    with pytest.raises(LawViolation, match="GLOBAL bound broken"):
        assert_majorant(
            lambda x, aux: lmm.Bound(lmm.Kind.GLOBAL, cut),
            atom,
            normal(2, N).to(dtype),
            search_steps=1,
        )


@by_case
def test_atoms_keep_their_majorant_at_a_thousand_unknowns(maps, dtype, least):
    target, x = normal(2, N, seed=1).to(dtype), normal(2, N, seed=2).to(dtype)
    for atom in (
        lmm.least_squares(maps[dtype, least], target),
        lmm.CosineDistance(target) @ maps[dtype, least],
    ):
        assert_majorant(None, atom, x, points=12, search_steps=5)


@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float32, 1e-4), (torch.float64, 1e-13)], ids=str
)
@pytest.mark.parametrize("proposer", [lmm.LimitedMemory(), None], ids=["default", "own"])
def test_a_weak_direction_is_solved(dtype, least, proposer):
    diagonal = torch.ones(N, dtype=dtype)
    diagonal[-1] = least
    y = torch.zeros(1, N, dtype=dtype)
    y[0, -1] = 1
    energy = lmm.least_squares(torch.diag(diagonal), y)
    result = lmm.minimize(
        energy,
        torch.zeros(1, N, dtype=dtype),
        proposer=proposer,
        settings=lmm.SolveSettings(gtol=0, max_iter=20),
    )
    assert float(result.fun) < 1e-6
    assert float(result.x[0, -1]) == pytest.approx(1 / least, rel=1e-3)
    assert not result.certificate.violations.any()


@by_dtype
@pytest.mark.parametrize("proposer", [lmm.LimitedMemory(), None], ids=["default", "own"])
def test_a_small_ridge_does_not_slow_weak_directions_down(dtype, proposer):
    """A shift beside a square basis has nothing outside to care for, and stays as it is."""
    least = 1e-3 if dtype == torch.float32 else 1e-6
    matrix = reflected(spectrum(least, 50)).to(dtype)
    truth = normal(1, 50, seed=3).to(dtype)
    energy = lmm.least_squares(matrix, truth @ matrix.mT) + least**2 * lmm.Quadratic(0 * truth)
    result = lmm.minimize(
        energy,
        0 * truth,
        proposer=proposer,
        settings=lmm.SolveSettings(gtol=0, max_iter=30),
    )
    exact = torch.linalg.solve(
        matrix.double().mT @ matrix.double() + least**2 * torch.eye(50, dtype=torch.float64),
        matrix.double().mT @ (truth @ matrix.mT)[0].double(),
    )
    value = energy(exact[None].to(dtype))
    assert float(result.fun - value) <= 1e-3 * float(value) + 100 * torch.finfo(dtype).eps


@by_dtype
@pytest.mark.parametrize(
    "shape", [(30, 20, 20), (20, 30, 20), (30, 20, 7), (20, 30, 7), (20, 20, 7), (20, 20, 0)]
)
def test_what_a_matrix_does_not_see_is_not_moved_along(dtype, shape):
    """Null spaces hold rounding and no curvature: steps along them are no longer than that."""
    rows, columns, rank = shape
    matrix = (normal(rows, rank) @ normal(rank, columns, seed=1)).to(dtype)
    linear, x = lmm.linear.MatrixMap(matrix), torch.zeros(2, columns, dtype=dtype)
    pulled = linear.pull_back(one(dtype), x)
    assert_dominates(pulled, linear, x)
    y = normal(2, rows, seed=2).to(dtype)
    result = lmm.minimize(
        lmm.least_squares(linear, y),
        x,
        proposer=None,
        settings=lmm.SolveSettings(gtol=0, max_iter=100),
    )
    left, values, right = torch.linalg.svd(matrix.double())
    null = right[rank:].mT
    outside = result.x.double() @ null
    scale = torch.linalg.vector_norm(y.double(), dim=1) / values[max(rank - 1, 0)].clamp(min=1e-3)
    # 100 steps, each with rounding eps / eps^(2/3) in what the bound covers.
    allowed = 100 * torch.finfo(dtype).eps ** (1 / 3) * scale
    assert (torch.linalg.vector_norm(outside, dim=1) <= allowed).all()
    best = (y.double() @ left[:, rank:]).square().sum(1) / 2
    assert ((result.fun.double() - best).abs() <= 1e3 * torch.finfo(dtype).eps * (1 + best)).all()


def test_the_law_needs_no_square_map_and_takes_inner_curvatures():
    matrix = normal(4, 6)
    inner = lmm.curvature.DiagonalCurvature(normal(3, 4).exp())
    x = torch.zeros(3, 6).double()
    for form in Form:
        linear = lmm.linear.MatrixMap(matrix, form)
        assert_dominates(linear.pull_back(inner, x), linear, x, inner)
        short = linear.pull_back(inner, x).scaled(0.1)
        with pytest.raises(LawViolation, match="in the norm of C"):
            assert_dominates(short, linear, x, inner)
    blur = lmm.linear.convolution(torch.tensor([0.25, 0.5, 0.25]).double(), (6,))
    assert_dominates(blur.pull_back(one(x.dtype, 3), x), blur, x)


def test_points_where_the_objective_overflows_say_nothing_against_a_bound():
    target = torch.full((2, 3), 1e15)
    atom = lmm.Quadratic(target)  # |z|^2 / 2 overflows within reach of the search
    assert_majorant(None, atom, 1e15 * torch.ones(2, 3), search_steps=10)
    far = lmm.Quadratic(target.double() * 1e140)
    assert_majorant(None, far, 1e155 * torch.ones(2, 3).double(), search_steps=10)
    with pytest.raises(LawViolation, match="too small by a factor of"):
        assert_majorant(
            lambda x, aux: lmm.Bound(
                lmm.Kind.GLOBAL, lmm.curvature.ScalarCurvature(0.5 * torch.ones(2))
            ),
            atom,
            1e15 * torch.ones(2, 3),
        )
