"""A head model of a file that users bring along."""

from __future__ import annotations

import os

import mne

from learnmm_esi.head.arrays import read_arrays
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.head.model import HeadModel

__all__ = ["read_head_model"]


def read_head_model(model: mne.Forward | str | os.PathLike[str]) -> HeadModel:
    """Make a head model of a file: a forward solution, or a bare lead field.

    Parameters
    ----------
    model : mne.Forward or path
        ``-fwd.fif``; or ``.npz``, with what `head_model_from_leadfield` takes under the names of
        its arguments, `neighbours` as a dense matrix.

    Returns
    -------
    HeadModel

    Raises
    ------
    ValueError
        If an ``.npz`` file lacks something, or holds what does not fit its lead field or is larger
        than the file explains; or if `head_model_from_leadfield` or `head_model_from_forward`
        refuses what is in the file.

    Examples
    --------
    >>> np.savez("mine.npz", leadfield=gain, positions=positions, neighbours=graph.toarray(),
    ...          channel_names=names)           # doctest: +SKIP
    >>> read_head_model("mine.npz")             # doctest: +SKIP
    """
    if isinstance(model, mne.Forward):
        return head_model_from_forward(model)
    if not os.fspath(model).endswith(".npz"):
        try:
            return head_model_from_forward(model)
        except (ValueError, TypeError, OSError, RuntimeError):
            raise
        except Exception as error:  # as a vertex number that no surface has
            raise ValueError(
                f"{os.fspath(model)} is damaged, its parts do not fit together: {error}"
            ) from error
    arrays = read_arrays(model)
    names = [str(name) for name in arrays.pop("channel_names")]
    return head_model_from_leadfield(channel_names=names, **arrays)
