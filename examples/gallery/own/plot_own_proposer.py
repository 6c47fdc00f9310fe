"""
A network of your own, trained, untrained, and trained to do harm
=================================================================

A network may propose steps, and cannot do harm: what it proposes is projected into the interval in
which the majorant proves descent. This one is trained twice, once to be fast, and once to be slow.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import learnmm as lmm

# %%
# Signals with steps behind a blur, and a prior that few neighbours differ. Each batch of data ``y``
# has an objective of its own.

torch.manual_seed(0)
n = 64
time = torch.arange(-6, 7, dtype=torch.float64)
kernel = torch.exp(-((time / 2) ** 2) / 2)
blur = lmm.linear.convolution(kernel / kernel.sum(), (n,))
differences = lmm.linear.MatrixMap(
    torch.diff(torch.eye(n, dtype=torch.float64), dim=0), form="separable"
)


def signals(number):
    jumps = torch.randn(number, n, dtype=torch.float64) * (torch.rand(number, n) < 0.08)
    return blur.apply(jumps.cumsum(1)) + 0.02 * torch.randn(number, n, dtype=torch.float64)


def energy(y):
    flat = y.new_zeros(len(y), n - 1)
    smooth = lmm.HalfQuadratic(flat, "hyperbolic", scale=0.1) @ differences
    return lmm.least_squares(blur, y) + 0.02 * smooth


# %%
# The network sees iterate and gradient without their units, and proposes a multiplier for each
# unknown. One everywhere is the majorant's own step.


class Net(lmm.LearnedPreconditioner):
    """Two convolutions along the signal."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2, 16, 7, padding=3, padding_mode="circular"),
            nn.Tanh(),
            nn.Conv1d(16, 1, 7, padding=3, padding_mode="circular"),
        )

    def propose(self, point, memory):
        """One, and what the layers add."""
        features = torch.stack(point.scale_free, 1)
        return lmm.Multipliers(1 + self.layers(features)[:, 0])


# %%
# Ten steps are one differentiable pass, and :func:`~learnmm.fit` trains the network through all of
# them. The loss is what is left of the gap to the best value, which the default finds; with the
# other sign the network learns to keep it large. Multipliers up to two lower the objective.

y = signals(256)
best = lmm.minimize(energy(y), torch.zeros_like(y)).fun
train = torch.utils.data.TensorDataset(y, best)
settings = lmm.SolveSettings(projection=lmm.Projection(upper=1.9998))


def trained(sign):
    torch.manual_seed(1)
    net = Net().double()
    solver = lmm.UnrolledMM(
        lambda batch: energy(batch[0]),
        net,
        start=lambda batch: torch.zeros_like(batch[0]),
        steps=10,
        settings=settings,
    )

    def loss(solved, batch):
        gaps = (solved.values - batch[1]) / (solved.values[0] - batch[1])
        return sign * gaps[1:].log().mean()

    fitting = lmm.FitSettings(
        steps=100, batch_size=32, adam=lmm.AdamSettings(lr=0.01), validate_every=50
    )
    lmm.fit(solver, train, loss, fitting)
    return net


torch.manual_seed(1)
proposers = {
    "majorant's own steps": None,
    "untrained": Net().double(),
    "trained": trained(1),
    "trained to do harm": trained(-1),
}

# %%
# Signals that nothing was trained on, beside what :func:`~learnmm.minimize` does by default. Its
# steps nothing confines: some are refused, each at the price of an evaluation.

y = signals(64)
x0 = torch.zeros_like(y)
best = lmm.minimize(energy(y), x0).fun
confined = lmm.SolveSettings(projection=settings.projection, max_iter=30)
runs = {
    name: lmm.minimize(energy(y), x0, proposer=proposer, settings=confined, history=True)
    for name, proposer in proposers.items()
}
for name, run in runs.items():
    print(f"{name}: {run.certificate}")
    assert run.certificate.kind is lmm.Kind.GLOBAL
    assert bool(run.certificate.monotone.all())
    assert int(run.certificate.rejected.sum()) == 0
runs["default"] = lmm.minimize(energy(y), x0, settings=lmm.SolveSettings(max_iter=30), history=True)

# %%
# After the ten steps that it was trained for, the network leaves about half of the gap that the
# majorant's own steps leave. The one that means harm comes down too, as slowly as the interval lets
# it. In the end the default is fastest; what the interval buys is that nothing is taken back.

gaps = {}
for name, run in runs.items():
    values = torch.cat([run.initial_fun[None], run.history.value])
    gaps[name] = ((values - best) / (values[0] - best)).median(1).values
    print(f"{name}: {gaps[name][10]:.1e} of the gap after 10 steps, {gaps[name][30]:.1e} after 30")
own, harm = gaps["majorant's own steps"], gaps["trained to do harm"]
assert gaps["trained"][10] < 0.8 * own[10]
assert own[10] < 0.1 * harm[10] < 0.1
assert int(runs["default"].certificate.rejected.sum()) > 0
assert gaps["default"][30] < gaps["trained"][30]

figure, axes = plt.subplots(figsize=(7, 4))
for name, gap in gaps.items():
    axes.semilogy(gap, "k:" if name == "default" else "-", label=name)
axes.set(xlabel="steps", ylabel="median gap, relative to the start")
axes.legend(frameon=False, fontsize=9)
figure.tight_layout()
plt.show()
