"""Calls in other processes, on this machine or on several: in order, a few at a time."""

from __future__ import annotations

import hashlib
import itertools
import pickle
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray

from learnmm.plain import is_integer

__all__ = ["mapped"]

AHEAD = 4  # calls for each process that are under way, or done and not yet asked for, at most
T = TypeVar("T")


def mapped(
    function: Callable[..., T], calls: Iterable[tuple[Any, ...]], n_jobs: int | None
) -> Iterator[T]:
    """Return the results of calls in their order, each when it is asked for.

    Parameters
    ----------
    function : callable
        A method whose object can be pickled. That travels once to each process.
    calls : iterable of tuple
        Arguments, which are asked for as calls are made.
    n_jobs : int, optional
        How many processes, as in MNE-Python: -1 for one on each core. Default: one, this one, or
        what `joblib.parallel_config` says.

    Returns
    -------
    iterator
        Of at most `AHEAD` calls for each process the results are kept for whoever asks late.
        Warnings of other processes are given here.

    Raises
    ------
    TypeError
        If `n_jobs` is no integer.
    ValueError
        If it is zero.
    """
    if n_jobs is not None and not is_integer(n_jobs):
        raise TypeError(f"n_jobs must be an int or None, got {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError("n_jobs must be a number of processes, or -1 for one on each core, got 0")
    processes = joblib.effective_n_jobs(n_jobs)
    if processes == 1:
        return (function(*call) for call in calls)
    # Made here: where results are asked for, another configuration of joblib may hold.
    pool = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    return _in_windows(pool, processes * AHEAD, function, calls)


def _in_windows(
    pool: joblib.Parallel,
    size: int,
    function: Callable[..., T],
    calls: Iterable[tuple[Any, ...]],
) -> Iterator[T]:
    """Make `size` calls at once, since joblib would go on whether anybody asks or not."""
    # As an array, which joblib maps into the memory of processes, and sends once to machines. It
    # goes from process to process of one program, and never to a file that anybody else wrote.
    packed = np.frombuffer(pickle.dumps(function), dtype=np.uint8)
    name = hashlib.blake2b(packed.data).hexdigest()
    remaining = iter(calls)
    with pool:
        while window := list(itertools.islice(remaining, size)):
            told = pool(joblib.delayed(_call)(packed, name, call) for call in window)
            for result, caught in told:
                for category, message in caught:
                    warnings.warn(message, category, stacklevel=4)
                yield result


_unpacked: tuple[str, Callable[..., Any]] | None = None
_one_at_a_time = threading.Lock()


def _call(
    packed: NDArray[np.uint8], name: str, call: tuple[Any, ...]
) -> tuple[Any, list[tuple[type[Warning], str]]]:
    """Call the function in another process; return what it says and the warnings that it gives."""
    global _unpacked
    # Threads of a process take turns: torch has threads of its own, and warnings are caught for
    # the whole process.
    with _one_at_a_time:
        if _unpacked is None or _unpacked[0] != name:
            _unpacked = name, pickle.loads(packed.data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = _unpacked[1](*call)
    return result, [(one.category, str(one.message)) for one in caught]
