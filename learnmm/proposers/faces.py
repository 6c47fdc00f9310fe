"""What pairs of steps say of the unknowns that are free to move, where others are held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from learnmm.proposers.limited_memory import Pairs


def on_face(pairs: Pairs, free: Tensor) -> Pairs:
    """Pairs of the free unknowns alone, zero elsewhere: they see the Hessian of that face.

    What a pair of all unknowns says of a face is more than that: part of its change of gradient
    comes from the moves of those held now. So the triangular matrix of products is made anew, and
    pairs without curvature on the face are left out.

    Parameters
    ----------
    pairs : Pairs
        Of all unknowns, as :class:`~learnmm.LimitedMemory` remembers them.
    free : Tensor of bool
        ``(B, *shape)``.
    """
    batch, history = pairs.products.shape
    moves, changes = (free[:, None] * ring for ring in (pairs.moves, pairs.changes))
    s, y = moves.reshape(batch, history, -1), changes.reshape(batch, history, -1)
    table = torch.bmm(s, y.mT)  # <s_i, y_j>
    products = table.diagonal(dim1=1, dim2=2)
    lengths = torch.linalg.vector_norm(s, dim=2) * torch.linalg.vector_norm(y, dim=2)
    kept = products > torch.finfo(s.dtype).eps * lengths

    places = torch.arange(history, device=free.device)
    age = (pairs.newest[:, None] - places) % history  # 0: the newest
    upper = (age[:, :, None] >= age[:, None, :]) & kept[:, :, None] & kept[:, None, :]
    inverse = _inverse(table * upper, kept, age)
    sound = torch.isfinite(inverse).all(2).all(1)
    kept = kept & sound[:, None]
    latest = torch.where(kept, age, history).argmin(1)
    present = kept.reshape(batch, history, *([1] * (moves.dim() - 2)))
    return pairs._replace(
        moves=torch.where(present, moves, 0.0),
        changes=torch.where(present, changes, 0.0),
        inverse=torch.where(sound[:, None, None], inverse, 0.0),
        products=torch.where(kept, products, 1.0),
        newest=torch.where(kept.any(1), latest, pairs.newest),
    )


def _inverse(table: Tensor, kept: Tensor, age: Tensor) -> Tensor:
    """Inverse of a matrix that is triangular by age, zero for pairs that are not kept."""
    order = age.argsort(1, descending=True)  # the oldest first
    rows, columns = order[:, :, None].expand_as(table), order[:, None, :].expand_as(table)
    sorted_table = table.gather(1, rows).gather(2, columns)
    whole = torch.eye(len(age[0]), dtype=table.dtype, device=table.device)
    there = torch.where(kept, 0.0, 1.0).to(table.dtype).gather(1, order)
    inverse: Tensor = torch.linalg.solve_triangular(
        sorted_table + whole * there[:, None], whole.expand_as(table), upper=True
    )
    back = order.argsort(1)
    inverse = inverse.gather(1, back[:, :, None].expand_as(table))
    inverse = inverse.gather(2, back[:, None, :].expand_as(table))
    return inverse * (kept[:, :, None] & kept[:, None, :])
