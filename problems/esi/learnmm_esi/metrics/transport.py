"""How far the mass of one map has to be carried to become another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["earth_movers_distance"]

_NEGLIGIBLE = 1e-12  # of all mass: what rounding leaves of two equal maps
_ITERATIONS = 1_000_000


def earth_movers_distance(
    truth: NDArray[np.float64], estimate: NDArray[np.float64], distances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Earth mover's distance of every two maps, each over its sum: Wasserstein's of order one.

    ``min sum_ij d_ij f_ij`` over flows ``f >= 0`` that take ``a = truth / sum(truth)`` to
    ``b = estimate / sum(estimate)``, exactly, by the network simplex of POT (Bonneel et al. 2011).
    As distances obey the triangle inequality, only ``(a - b)_+`` and ``(b - a)_+`` need to move.

    Parameters
    ----------
    truth, estimate : ndarray, shape (batch, n)
        Values that are not negative, a positive one in every row.
    distances : ndarray, shape (n, n)
        Between regions, a metric.

    Returns
    -------
    ndarray of float64, shape (batch,)
        In the unit of `distances`.

    Raises
    ------
    ImportError
        If POT is not installed.
    ValueError
        For a negative value, or a row without a positive one.
    RuntimeError
        If the network simplex does not come to an end.
    """
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            "earth_movers_distance needs POT: pip install 'learnmm-esi[metrics]'"
        ) from error
    for name, maps in (("truth", truth), ("estimate", estimate)):
        if (maps < 0).any() or not (maps > 0).any(axis=1).all():
            raise ValueError(
                f"earth_movers_distance: the {name} needs a positive value in every row and no "
                "negative one"
            )
    excess = truth / truth.sum(axis=1, keepdims=True)
    excess -= estimate / estimate.sum(axis=1, keepdims=True)
    moved = np.zeros(len(excess))
    for sample, row in enumerate(excess):
        give, take = row > 0.0, row < 0.0
        mass = float(row[give].sum())
        if mass <= _NEGLIGIBLE:
            continue
        costs = np.ascontiguousarray(distances[np.ix_(give, take)], dtype=np.float64)
        shares = row[give] / mass, row[take] / row[take].sum()
        cost, log = ot.emd2(*shares, costs, numItermax=_ITERATIONS, log=True)
        if log["warning"] is not None:
            raise RuntimeError(f"earth_movers_distance: sample {sample}: {log['warning']}")
        moved[sample] = mass * float(cost)
    return moved
