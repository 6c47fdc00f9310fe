"""The processes of a run, what they agree on, and how they are interrupted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STRATEGIES = ("SingleDeviceStrategy", "DDPStrategy")


def default_fabric(precision: str) -> Fabric:
    """Return a launched Fabric: one device, or all processes that torchrun has started.

    ``"auto"`` is what :func:`fast_precision` says.

    Raises
    ------
    ImportError
        Without the extra ``train``.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ImportError("fit needs Lightning Fabric: pip install 'learnmm[train]'") from error
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    several: dict[str, Any] = {"strategy": "ddp", "num_nodes": world // local} if world > 1 else {}
    fabric = Fabric(
        accelerator="auto",
        devices=local if world > 1 else 1,
        precision=fast_precision() if precision == "auto" else precision,  # type: ignore[arg-type]
        **several,
    )
    fabric.launch()
    return fabric


def fast_precision() -> str:
    """Return ``"bf16-mixed"`` where the hardware computes in bfloat16, and ``"32-true"`` elsewhere.

    What converts every number instead is slower than single precision: convolutions 20 to 40 times
    on processors that end at AVX2. Of other processors than x86 torch does not tell.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()  # older torch has no such
    return "bf16-mixed" if native else "32-true"


def check_fabric(fabric: Fabric, precision: str) -> str:
    """Return the precision of a Fabric; raise unless the loop can work with it."""
    try:
        strategy, found = type(fabric.strategy).__name__, fabric.strategy.precision.precision
    except AttributeError:
        raise TypeError(f"fabric must be a Fabric, got {type(fabric).__name__}") from None
    if strategy not in STRATEGIES:
        raise ValueError(f"fabric must use one of {STRATEGIES}, got {strategy}")
    if precision not in ("auto", found):
        raise ValueError(f"the settings say precision {precision!r}, the fabric {found!r}")
    return str(found)


def agree(fabric: Fabric, values: Sequence[float]) -> list[float]:
    """Return the sums over all processes; these wait for each other here."""
    if fabric.world_size == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    result: list[float] = fabric.all_reduce(total, reduce_op="sum").tolist()  # type: ignore[union-attr]
    return result


class Interruption:
    """The signal that asked to stop, if one has come."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Let SIGINT and SIGTERM wait for the end of a step; a second one does not wait.

    Whoever sees the signal in the object saves and leaves the block; it is sent again on leaving.
    """
    caught = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    # None stands for a handler that Python did not install and cannot put back; what is ignored,
    # as SIGINT is behind nohup and in the background of a script, stays ignored.
    ignored = (None, signal.SIG_IGN)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler not in ignored}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        caught.signal = number
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield caught
    finally:
        restore()
    if caught.signal is not None:
        signal.raise_signal(caught.signal)
