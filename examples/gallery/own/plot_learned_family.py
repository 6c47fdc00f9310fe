"""
A solver that learns your problems
==================================

Where the same kind of problem is solved again and again, :func:`~learnmm.learn` solves some, trains
on them, and says what that bought. What it learned is a proposal in every solve: where it is wrong,
steps are refused, and the objective descends all the same.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# A family is a class that draws instances. This one is simulated: which heat sources along a rod
# explain the temperatures at its sensors, of which one in twenty is broken? Temperatures are sums
# over Green's function of a rod whose ends are cold, the same for all instances. That is what can
# be learned, beside what sources look like.


@dataclass(frozen=True)
class HeatedRod(lmm.Problem):
    """Heat sources along a rod, from temperatures at its sensors."""

    name: ClassVar[str] = "heated-rod"
    shares: ClassVar[str] = "operator"
    unknowns: int = 40
    sensors: int = 30
    noise: float = 0.01
    broken: float = 0.05
    cold: float = 1.0  # 0: the right end is insulated

    def draw(self, batch, dtype, generator):
        """Draw sources, noise and broken sensors; start without sources."""

        def random(*shape):
            return torch.rand(batch, *shape, generator=generator, dtype=torch.float64)

        place = (torch.arange(self.unknowns, dtype=torch.float64) + 0.5) / self.unknowns
        sensor = (torch.arange(self.sensors, dtype=torch.float64) + 0.5) / self.sensors
        nearer, farther = (
            torch.minimum(sensor[:, None], place),
            torch.maximum(sensor[:, None], place),
        )
        green = nearer * (1 - self.cold * farther) * 8 / self.unknowns

        height, centre, width = random(3, 3, 1).unbind(1)
        width = 0.03 + 0.07 * width
        truth = (height * torch.exp(-(((place - centre) / width) ** 2) / 2)).sum(1)
        y = truth @ green.mT
        gauss = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        y = y + self.noise * y.abs().amax(1, keepdim=True) * gauss
        y = torch.where(random(self.sensors) < self.broken, random(self.sensors) / 2, y)

        rough = torch.diff(torch.eye(self.unknowns, dtype=torch.float64), n=2, dim=0)
        flat = torch.zeros(batch, self.unknowns - 2, dtype=dtype)
        return lmm.Instance(
            lmm.HalfQuadratic(y.to(dtype), "huber", scale=0.01) @ green.to(dtype)
            + 1e-2 * lmm.HalfQuadratic(flat, "hyperbolic", scale=0.1) @ rough.to(dtype),
            x0=torch.zeros(batch, self.unknowns, dtype=dtype),
            data=y.to(dtype),
            facts={"truth": truth.to(dtype)},
        )


family = HeatedRod()
lmm.checks.assert_problem(family)

# %%
# Training takes seconds here. The report is about instances that nothing was trained or chosen on,
# beside limited memory, which is what :func:`~learnmm.minimize` takes by default above 32 unknowns.

fit = lmm.FitSettings(steps=400, batch_size=64, validate_every=50, patience=4)
learned = lmm.learn(family, lmm.families.LearnSettings(instances=256, fit=fit))
print(learned.report)

# %%
# All of it is one file, without code in it.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "heated-rod.safetensors"
    learned.save(path)
    print(f"{path.stat().st_size / 1024:.0f} KiB")
    learned = lmm.families.LearnedMemory.load(path)

# %%
# New instances, from the family and from elsewhere: more noise, and another rod. Of neither was
# anything seen. Evaluations are counted until a millionth of the gap to the best value is left.

NEVER_SEEN = {
    "the family": family,
    "noise and broken sensors times three": replace(family, noise=0.03, broken=0.15),
    "another rod": replace(family, cold=0.0),
}
settings = lmm.SolveSettings(max_iter=400)
curves, medians = {}, {}
for name, kind in NEVER_SEEN.items():
    instance = kind.instance(64, generator=torch.Generator().manual_seed(2026))
    start, runs = instance.x0, {}
    for how in ("by default", "learned"):
        proposer = {"proposer": learned.given(instance.data)} if how == "learned" else {}
        runs[how] = lmm.minimize(
            instance.objective, start, settings=settings, history=True, **proposer
        )
    first = instance.objective(start)
    least = torch.minimum(*[run.fun for run in runs.values()])
    for how, run in runs.items():
        # One evaluation at the start, one more at a learned start, and one for each step.
        values = torch.cat([first.expand(1 + (how == "learned"), -1), run.history.value])
        medians[name, how] = float(lmm.families.counted(values, least, 1e-6).median())
        curves[name, how] = ((values - least) / (first - least)).clamp(min=1e-9).median(1).values
        refused = run.certificate.rejected.sum() / run.iterations.sum()
        print(
            f"{name}, {how}: {medians[name, how]:.0f} evaluations in the median; "
            f"{run.certificate.started.sum()} of 64 learned starts taken, {refused:.0%} of the "
            f"candidates refused, {run.certificate.monotone.sum()} of 64 runs monotone"
        )
        assert bool(run.certificate.monotone.all())

# %%
# More noise does no harm. On another rod nothing that was learned is right: hardly a learned start
# is taken, since the objective is higher there, and the metric is given up where the first steps
# speak against it. What is left costs about what the default costs.

family, noisy, elsewhere = [
    (medians[name, "learned"], medians[name, "by default"]) for name in NEVER_SEEN
]
assert family[0] < family[1] / 2
assert noisy[0] < noisy[1] / 2
assert elsewhere[0] < 1.5 * elsewhere[1]

figure, row = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
for axes, name in zip(row, NEVER_SEEN, strict=True):
    for how, style in {"by default": "C0", "learned": "C1"}.items():
        axes.semilogy(range(1, 1 + len(curves[name, how])), curves[name, how], style, label=how)
    axes.set(title=name, xlabel="evaluations", xlim=(0, 120))
    axes.title.set_fontsize(10)
row[0].set_ylabel("median gap, relative to the start")
row[0].legend(frameon=False)
figure.tight_layout()
plt.show()

# %%
# What 28 families gain, and what some do not, is
# on :doc:`a page of results </generated/committed/learning>`.
