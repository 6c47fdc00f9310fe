"""What training changes: weights, Adam's moments, the moving average, the best so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from learnmm.storage import fill, module_layout, not_finite, state_tensors

BETAS = (0.9, 0.999)
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Average:
    """Moving average of the parameters: ``average += (1 - decay) (parameters - average)``."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.tensors = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take in the parameters after update number `updates`, counted from 1."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, parameter in self.parameters.items():
            self.tensors[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Let the model carry the average for a while."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._fill(self.tensors)
        try:
            yield
        finally:
            self._fill(kept)

    @torch.no_grad()
    def _fill(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[name])


@dataclass
class Counters:
    """Where a run stands.

    Attributes
    ----------
    step : int
        Steps done, those skipped among them.
    updates : int
        Steps that changed the weights.
    skipped, streak : int
        Steps without a finite loss and gradient, in all and in a row just now.
    best_loss, best_step : float, int
        Infinite and 0 before the first validation with a finite loss.
    waited : int
        Validations since the best one.
    window_sum, window_count : float, int
        Finite training losses since the last validation.
    seconds : float
        Time spent training, over all resumes.
    stopped_early : bool
        Whether patience has ended.
    """

    step: int
    updates: int
    skipped: int
    streak: int
    best_loss: float
    best_step: int
    waited: int
    window_sum: float
    window_count: int
    seconds: float
    stopped_early: bool

    @classmethod
    def at_start(cls) -> Counters:
        """Return those of a run that has done nothing."""
        return cls(
            step=0,
            updates=0,
            skipped=0,
            streak=0,
            best_loss=math.inf,
            best_step=0,
            waited=0,
            window_sum=0.0,
            window_count=0,
            seconds=0.0,
            stopped_early=False,
        )

    def note(self, loss: float) -> str:
        """Say how a training goes: the loss of the last batch, the best one, steps skipped."""
        parts = [f"loss {loss:.4g}"]
        if math.isfinite(self.best_loss):
            parts.append(f"best {self.best_loss:.4g} at {self.best_step}")
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        return ", ".join(parts)


class Weights:
    """The model with its optimizer, average and best state."""

    def __init__(
        self, model: nn.Module, lr_factors: Mapping[str, float], ema: float | None
    ) -> None:
        self.model = model
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError(f"{type(model).__name__} has no trainable parameters")
        if bad := not_finite(state_tensors(model)):
            raise ValueError(f"{type(model).__name__} starts with what is not finite: {bad}")
        self.factors = factors(list(self.parameters), lr_factors)
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            groups.setdefault(self.factors[name], []).append(parameter)
        self.adam = torch.optim.Adam(
            [{"params": group, "factor": factor} for factor, group in groups.items()], betas=BETAS
        )
        self.average = Average(self.parameters, ema) if ema is not None else None
        self.best: dict[str, Tensor] = {}

    def clip(self, limit: float | None) -> float:
        """Scale the gradient to at most this norm; return the norm it had."""
        norm = nn.utils.clip_grad_norm_(
            list(self.parameters.values()), math.inf if limit is None else limit
        )
        return float(norm)

    def update(self, rate: float, updates: int) -> None:
        """Step number `updates`, counted from 1."""
        for group in self.adam.param_groups:
            group["lr"] = rate * group["factor"]
        self.adam.step()
        if self.average is not None:
            self.average.update(updates)

    def keep(self) -> None:
        """Remember what the model carries now as the best."""
        self.best = state_tensors(self.model)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything under one name each, on the CPU."""
        result = {f"model.{n}": t for n, t in state_tensors(self.model).items()}
        for name, parameter in self.parameters.items():
            for moment, value in self.adam.state[parameter].items():
                result[f"adam.{moment}.{name}"] = value.detach().to("cpu", copy=True)
        if self.average is not None:
            result |= {f"ema.{n}": t.to("cpu", copy=True) for n, t in self.average.tensors.items()}
        result |= {f"best.{n}": t for n, t in self.best.items()}
        return {name: tensor.contiguous() for name, tensor in result.items()}

    def layout(self) -> dict[str, Tensor]:
        """Return all names that :meth:`tensors` can come to have, with a tensor like theirs."""
        model = module_layout(self.model)
        result = {f"{part}.{n}": t for part in ("model", "best") for n, t in model.items()}
        # As Adam has it; it follows the default dtype.
        step = torch.empty((), dtype=torch.promote_types(torch.get_default_dtype(), torch.float32))
        for name, parameter in self.parameters.items():
            likes = dict(zip(MOMENTS, (step, parameter, parameter), strict=True))
            result |= {f"adam.{moment}.{name}": like for moment, like in likes.items()}
        if self.average is not None:
            result |= {f"ema.{n}": t for n, t in self.average.tensors.items()}
        return result

    def load(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave; names and shapes have been checked.

        Raises
        ------
        ValueError
            If the model refuses its state, with everything as it was.
        """
        fill(path, self.model, under("model.", tensors))
        for name, parameter in self.parameters.items():
            for moment in MOMENTS:
                key = f"adam.{moment}.{name}"
                if key in tensors:
                    value = tensors[key].clone()
                    device = "cpu" if moment == "step" else parameter.device
                    self.adam.state[parameter][moment] = value.to(device)
        if self.average is not None:
            for name, value in under("ema.", tensors).items():
                self.average.tensors[name].copy_(value)
        self.best = under("best.", tensors)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name starts so, without the prefix."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def factors(names: list[str], lr_factors: Mapping[str, float]) -> dict[str, float]:
    """Return the factor of every parameter; raise if a prefix serves none."""
    chosen = {}
    for name in names:
        fitting = [prefix for prefix in lr_factors if name.startswith(prefix)]
        chosen[name] = max(fitting, key=len) if fitting else None
    if unused := sorted(set(lr_factors) - set(chosen.values())):
        raise ValueError(
            f"lr_factors: no trainable parameter takes the factor of {unused}; names are {names}"
        )
    return {n: 1.0 if p is None else lr_factors[p] for n, p in chosen.items()}
