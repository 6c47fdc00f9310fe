"""What an outer loss may return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

OuterLoss = Callable[[Any, Any], Tensor | tuple[Tensor, Mapping[str, Tensor | float]]]

RESERVED = ("step", "loss", "lr", "gradient_norm", "seconds", "training_loss", "validation_loss")


def evaluate(outer_loss: OuterLoss, output: Any, batch: Any) -> tuple[Tensor, dict[str, float]]:
    """Return the loss and the scalars to log; raise unless they are what they have to be."""
    answer: Any = outer_loss(output, batch)
    loss, scalars = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, {})
    if not isinstance(loss, Tensor) or not isinstance(scalars, Mapping):
        got = type(answer).__name__
        if isinstance(answer, tuple):
            got = f"({', '.join(type(part).__name__ for part in answer)})"
        raise TypeError(
            f"outer_loss must return a tensor, or (tensor, mapping of names to scalars), got {got}"
        )
    if loss.shape != () or not loss.is_floating_point():
        raise ValueError(
            "outer_loss must return one floating-point number, the mean over the batch, "
            f"got shape {tuple(loss.shape)} and dtype {loss.dtype}"
        )
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ValueError("outer_loss depends on no trainable parameter")
    if taken := sorted(set(scalars) & set(RESERVED)):
        raise ValueError(f"outer_loss may not name its scalars {taken}: the log uses these")
    return loss, {
        name: float(value.detach() if isinstance(value, Tensor) else value)
        for name, value in scalars.items()
    }
