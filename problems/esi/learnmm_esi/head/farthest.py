"""Few points that cover many: electrodes of a cap, subsets of electrodes and of sources."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["farthest_points"]


def farthest_points(points: NDArray[np.float64], count: int, first: int) -> NDArray[np.int64]:
    """Choose points one by one, each as far as possible from those chosen before.

    No chance is in it, and fewer points are always the first of more. Of equal distances the
    first point counts. The largest distance of any point to its nearest chosen one is at most
    twice the least that is possible (Gonzalez, Theoretical Computer Science 38, 1985).

    Parameters
    ----------
    points : ndarray, shape (n, 3)
    count : int
        How many; all, if there are fewer.
    first : int
        Where to begin.

    Returns
    -------
    ndarray of int, shape (min(count, n),)
        Indices in the order of choice.

    Examples
    --------
    >>> line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [10, 0, 0]])
    >>> farthest_points(line, 3, first=0).tolist()
    [0, 3, 2]
    """
    chosen = [first]
    distance = np.linalg.norm(points - points[first], axis=1)
    distance[first] = -1.0
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        distance[chosen] = -1.0
    return np.array(chosen, dtype=np.int64)
