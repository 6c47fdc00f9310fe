"""Tensors that gradients reach and that a module does not know of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from learnmm.nested import tensors_of


def warn_of_hidden(module: nn.Module, outputs: Sequence[Tensor], inputs: Any) -> None:
    """Warn if gradients of some outputs reach more than parameters and inputs.

    Parameters
    ----------
    module : Module
        What is trained.
    outputs : sequence of Tensor
        What it computed.
    inputs : nested
        What it was given; nothing behind these is its own.

    Warns
    -----
    UserWarning
        With how many there are, and what to do.
    """
    given = tensors_of(inputs)
    known = {id(tensor) for tensor in (*module.parameters(), *given)}
    behind = {tensor.grad_fn for tensor in given if tensor.grad_fn is not None}
    hidden = [leaf for leaf in _leaves(outputs, behind) if id(leaf) not in known]
    if hidden:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in hidden[:4])
        more = ", ..." if len(hidden) > 4 else ""
        warnings.warn(
            f"{type(module).__name__}: gradients reach tensors that are not among its parameters() "
            f"({len(hidden)}, of shape {shapes}{more}), so they are neither trained nor saved with "
            "it: name the networks that energy and start close over, modules=[network], or call "
            "requires_grad_(False) on what shall stay as it is",
            stacklevel=3,  # whoever calls the module
        )


def _leaves(outputs: Sequence[Tensor], stops: set[Node]) -> list[Tensor]:
    """Leaves of the graph behind some tensors, each once; not what lies behind `stops`."""
    leaves = {id(t): t for t in outputs if t.grad_fn is None and t.requires_grad}
    waiting = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen = set(stops)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)  # of those that accumulate gradients
        if isinstance(leaf, Tensor):
            leaves[id(leaf)] = leaf
        waiting += [parent for parent, _ in node.next_functions if parent is not None]
    return list(leaves.values())
