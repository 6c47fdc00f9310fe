"""Laws, batches, steps and a training step on an accelerator: ``python -m benchmarks.gpu``.

Parts run in order and the page is written after each, so that what is cut off is said and the rest
is kept. Without an accelerator the page says that none was there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.gpu.batches import SEED, batches, steps
from benchmarks.gpu.laws import laws
from benchmarks.gpu.training import training
from benchmarks.pages import arguments, made_by, write

LIMIT = 8 * 60.0
"""Seconds for all of it; no part begins later."""

LAWS = 150.0
SIZES, QUICK = (1024, 65536), (64,)


def named(device: str) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def main() -> None:
    """Run the parts that there is time for."""
    parser = arguments("gpu", __doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else None)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it out")
    settings = parser.parse_args()
    lines = ["# On a GPU", "", made_by("gpu", SEED)]
    device = settings.device
    if device is None:
        write(
            [*lines, "", "There was none: nothing here has been run on one yet.", ""],
            settings.output,
        )
        return
    sizes, repeats = (QUICK, 1) if settings.quick else (SIZES, 3)
    lines = [f"{lines[0]}: {named(device)}", *lines[1:], ""]
    parts: dict[str, Callable[[], list[str]]] = {
        "Laws": lambda: laws(device, LAWS),
        "Batches until all problems have stopped, the compilation apart": lambda: batches(
            device, sizes, repeats
        ),
        "A verified step": lambda: steps(device, sizes, repeats),
        "A training step": lambda: training(device, repeats),
    }
    begin = time.perf_counter()
    for name, part in parts.items():
        lines += [f"## {name}", ""]
        if time.perf_counter() - begin > LIMIT:
            lines += ["No time was left.", ""]
        else:
            try:
                lines += part()
            except Exception as error:  # the others are worth having
                lines += [f"Did not run: {type(error).__name__}: {error}", ""]
        write(lines, settings.output)


if __name__ == "__main__":
    main()
