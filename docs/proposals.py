"""Draw the picture of the README, from its own examples: ``python docs/proposals.py``."""

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

HERE = Path(__file__).parent
STEPS = 20


def readme() -> dict[str, Any]:
    """What the code of the README names."""
    names: dict[str, Any] = {"__name__": "README"}
    text = (HERE.parent / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        exec(compile(block, "README.md", "exec"), names)
    return names


def gaps(names: dict[str, Any], proposer: lmm.Proposer | None, settings: lmm.SolveSettings) -> Any:
    """Share of the gap that is left after each step, mean of problems that nothing has seen."""
    torch.manual_seed(1)
    y = 3 * torch.randn(64, 40, dtype=torch.float64)
    energy, x0 = lmm.HalfQuadratic(y, "cauchy") @ names["A"], y.new_zeros(64, 20)
    least = lmm.minimize(energy, x0, settings=lmm.SolveSettings(gtol=1e-10)).fun
    optimizer = lmm.ProjectedMMOptimizer(energy, proposer=proposer, settings=settings)
    run = optimizer.minimize(x0, history=True)
    values = torch.cat([run.initial_fun[None], run.history.value])
    return ((values - least) / (run.initial_fun - least)).mean(1)


def main() -> None:
    """Run all proposers on the same problems, and draw them."""
    names = readme()
    safe = lmm.SolveSettings(max_iter=STEPS, projection=lmm.Projection(upper=1.9))
    plain = lmm.SolveSettings(max_iter=STEPS)
    bare = lmm.SolveSettings(None, None, None, max_iter=STEPS)
    torch.manual_seed(0)
    runs = {
        "a wrong network, as proposed": (names["Wrong"](), bare, "x:"),
        "the wrong network, confined and verified": (names["Wrong"](), safe, "x-"),
        "an untrained network": (names["Network"](), safe, "o-"),
        "no network: the bound's own steps": (None, safe, "k-"),
        "the trained network": (names["solver"].proposer, safe, "s-"),
        "no network: BFGS steps, the default": (lmm.proposers.BFGS(), plain, "k--"),
    }
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    for label, (proposer, settings, style) in runs.items():
        axes.semilogy(gaps(names, proposer, settings), style, label=label, markersize=4)
    axes.set(xlabel="steps", ylabel="share of the gap that is left", xlim=(0, STEPS))
    axes.set_xticks(range(0, STEPS + 1, 5))
    axes.legend(frameon=False, fontsize=8, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "proposals.png", dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
