"""Weights by name: what packages plug in through the entry-point group ``learnmm.weights``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from torch import nn

from learnmm.plugins import Plugins
from learnmm.storage.weights import peek_weights

GROUP = "learnmm.weights"
PLUGINS = Plugins(GROUP, "weights", "weights")


@dataclass(frozen=True)
class Pretrained:
    """Weights that a package ships, and how files of their kind are read.

    Attributes
    ----------
    load : callable
        ``load(path, **options)`` returns the module; it checks the file before it allocates.
    reads : callable
        Whether a configuration, as :func:`learnmm.save_weights` wrote it, is one of this kind.
    path : Path or None
        The file in the package. None: none comes along, and users have their own.

    Examples
    --------
    In a plug-in's ``pyproject.toml``::

        [project.entry-points."learnmm.weights"]
        quasi-newton = "learnmm.proposers.quasi_newton:WEIGHTS"
    """

    load: Callable[..., nn.Module]
    reads: Callable[[Mapping[str, Any]], bool]
    path: Path | None = None


def load_pretrained(name_or_path: str | os.PathLike[str], **options: Any) -> nn.Module:
    """Return a trained module by the name of its weights, or from a file of weights.

    Parameters
    ----------
    name_or_path : str or path
        A name that an installed package gives: ``"quasi-newton"``
        (:class:`learnmm.proposers.LearnedQuasiNewton`), with ``learnmm-esi`` also ``"mm-net"``
        (:class:`learnmm_esi.SourceSolver`, on the template's head). Or a file that one of them, or
        a :func:`learnmm.learn`, has saved. Names go first; write ``./mm-net`` for such a file.
    **options
        Of what reads it, such as ``history=`` of the first and ``model=`` of the second.

    Returns
    -------
    Module
        As its own ``load`` returns it. What was trained on what, and its limits, is told by the
        card beside the weights.

    Raises
    ------
    FileNotFoundError
        If it is neither; the message lists the names.
    ImportError
        If a plug-in fails to import, several claim the name, or safetensors is missing
        (extra ``train``).
    TypeError
        For options that its reader does not take, or a plug-in that names something else.
    ValueError
        For a file that nothing installed reads, or one that is damaged.

    Examples
    --------
    >>> import learnmm as lmm
    >>> lmm.load_pretrained("quasi-newton", history=20).history
    20
    """
    named = PLUGINS.entry(str(name_or_path))
    if named is not None:
        shipped = _loaded(named)
        if shipped.path is None:
            raise FileNotFoundError(
                f"no file comes with {named.name!r}: give the path of one of yours"
            )
        return shipped.load(shipped.path, **options)
    path = Path(name_or_path)
    if not path.exists():
        known = ", ".join(sorted(PLUGINS.entries())) or "none"
        raise FileNotFoundError(
            f"no weights and no file are called {str(name_or_path)!r}; installed weights: {known}"
        )
    return _reader(path).load(path, **options)


def _reader(path: Path) -> Pretrained:
    """What reads a file; a plug-in that is broken matters only if nothing else does."""
    config = peek_weights(path)[1]
    failed = []
    for entry in (entry for claims in PLUGINS.entries().values() for entry in claims.values()):
        try:
            known = _loaded(entry)
        except (ImportError, TypeError) as error:
            failed.append(str(error))
        else:
            if known.reads(config):
                return known
    missing = "; ".join(["", *failed])
    raise ValueError(f"{path} holds weights that nothing installed reads{missing}")


def _loaded(entry: EntryPoint) -> Pretrained:
    found = PLUGINS.load(entry)
    if not isinstance(found, Pretrained):
        raise TypeError(
            f"the entry point of the weights {entry.name!r}, {entry.value!r}, must name a "
            f"Pretrained, got {type(found).__name__}"
        )
    return found
