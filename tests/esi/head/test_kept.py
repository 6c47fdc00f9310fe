"""What is kept of a head is checked when it is read: a file of something else is no head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from learnmm_esi.cache import CorruptCacheError
from learnmm_esi.head.cortex import N_VERTICES
from learnmm_esi.head.kept import check_cells, identity_of, neighbour_graph
from learnmm_esi.head.settings import HeadModelSettings

N = 3


def arrays() -> dict[str, Any]:
    return {
        "positions": np.zeros((N, 3)),
        "normals": np.zeros((N, 3)),
        "distances": np.zeros((N, N)),
        "neighbour_indices": np.array([1, 0]),
        "neighbour_indptr": np.array([0, 1, 2, 2]),
        "vertices_lh": np.array([5, 9]),
        "vertices_rh": np.array([7]),
        "regions": np.zeros(2 * N_VERTICES, dtype=np.int64),
    }


def test_what_fits_passes() -> None:
    check_cells(arrays(), N)
    assert neighbour_graph(arrays(), N).nnz == 2
    settings = HeadModelSettings()
    assert identity_of(1, settings)["settings"]["conductivity"] == list(settings.conductivity)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("normals"), "expected normals of shape"),
        (lambda a: a.update(distances=np.zeros((N, 2))), "expected distances of shape"),
        (lambda a: a.update(regions=a["regions"].astype(float)), "and dtype int64, found"),
        (lambda a: a["positions"].fill(np.nan), "positions is not finite"),
        (lambda a: a.update(vertices_rh=np.array([N_VERTICES])), "are not 3 of fsaverage5"),
        (lambda a: a.update(vertices_rh=np.array([1, 2])), "are not 3 of fsaverage5"),
        (lambda a: a["regions"].fill(N), "are not those of 3 sources"),
    ],
)
def test_what_does_not_fit_is_found(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    damaged = arrays()
    change(damaged)
    with pytest.raises(CorruptCacheError, match=message):
        check_cells(damaged, N)


def test_neighbours_that_are_no_graph_are_found() -> None:
    damaged = {**arrays(), "neighbour_indices": np.array([1, N])}
    with pytest.raises(CorruptCacheError, match="its neighbours are no graph"):
        neighbour_graph(damaged, N)
