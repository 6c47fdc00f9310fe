"""What learning buys on families of problems that are solved again and again.

    python -m benchmarks.learning

learns every family of ``learnmm_problems/families.toml`` and the LASSO of Open-L2O, tries them on
unseen instances, in and out of distribution, and writes ``benchmarks/results/learning.md``, a
picture, and the numbers. A run that was stopped goes on where it was; ``--families`` names some,
``--anew`` forgets what is there.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.learning.measure import measured
from benchmarks.learning.page import page, picture
from benchmarks.pages import arguments, write
from benchmarks.zero_shot import lasso
from learnmm.families import LearnSettings
from learnmm.storage import write_file
from learnmm_problems.families import families

SEED = 14


def main() -> None:
    """Learn, measure, write."""
    parser = arguments("learning", __doc__)
    parser.add_argument("--families", nargs="*", help="names; default: all")
    parser.add_argument("--anew", action="store_true", help="forget what was measured before")
    parser.add_argument("--folder", type=Path, default=Path("build/learning"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    numbers = chosen.output.with_suffix(".json")
    known = {} if chosen.anew or not numbers.exists() else json.loads(numbers.read_text())
    everyone = {**families(), **lasso.families()}
    console = Console(stderr=True)
    for name in chosen.families or everyone:
        if name in known:
            continue
        console.log(name)
        settings = LearnSettings(seed=SEED)
        try:
            known[name] = measured(name, everyone[name], settings, chosen.folder / name, True)
        except ValueError as error:
            console.log(f"{name}: {error}")
            continue
        write_file(numbers, json.dumps(known, indent=1).encode())
    rows = [known[name] for name in everyone if name in known]
    picture(rows, chosen.output.with_suffix(".png"))
    missing = [name for name in everyone if name not in known]
    write(page(rows, "learning", SEED, missing), chosen.output)


if __name__ == "__main__":
    main()
