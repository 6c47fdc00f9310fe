"""
A small network, without a learning rate
========================================

:class:`~learnmm.optim.ProjectedMM` stands where a ``torch.optim`` optimizer does. On all data no
step raises the loss. Adam is shown at three rates: which of them is right, one learns by trying.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# A curve with noise, and a network of 657 parameters.

torch.manual_seed(0)
inputs = torch.linspace(-1, 1, 200)[:, None]
targets = torch.sin(6 * inputs) * torch.exp(-inputs) + 0.1 * torch.randn_like(inputs)


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(1, 20),
        torch.nn.Tanh(),
        torch.nn.Linear(20, 28),
        torch.nn.Tanh(),
        torch.nn.Linear(28, 1),
    )


def loss(model):
    return torch.nn.functional.mse_loss(model(inputs), targets)


# %%
# The closure returns the loss; what a run costs is counted in its evaluations. A call takes one
# step, which suits minibatches; on all data it may take twenty, as in ``torch.optim.LBFGS``.

EVALUATIONS = 300


def projected(steps_a_call):
    model, seen = network(), []

    def closure():
        value = loss(model)
        seen.append(float(value.detach()))
        return value

    settings = lmm.SolveSettings(max_iter=steps_a_call)
    optimizer = lmm.optim.ProjectedMM(model.parameters(), settings=settings)
    after = [(0, float(loss(model).detach()))]
    while len(seen) < EVALUATIONS:
        optimizer.step(closure)
        after.append((len(seen), float(loss(model).detach())))
    assert all(later <= earlier for (_, earlier), (_, later) in pairwise(after))
    print(f"{steps_a_call} a call: {optimizer.last_result.certificate}")
    return after


figure, axes = plt.subplots(figsize=(6, 3.5))
for steps_a_call, style in {1: "k:", 20: "k"}.items():
    label = f"ProjectedMM, steps a call: {steps_a_call}"
    axes.semilogy(*zip(*projected(steps_a_call), strict=True), style, linewidth=2, label=label)

# %%
# The same for Adam, one evaluation a step.

for rate in (1e-3, 1e-2, 1e-1):
    other, values = network(), []
    adam = torch.optim.Adam(other.parameters(), lr=rate)
    for _ in range(EVALUATIONS):
        adam.zero_grad()
        value = loss(other)
        value.backward()
        adam.step()
        values.append(float(value.detach()))
    axes.semilogy(values, linewidth=1, label=f"Adam, rate {rate:g}")
axes.set(xlabel="evaluations of loss and gradient", ylabel="training loss")
axes.legend(frameon=False, fontsize=8)
figure.tight_layout()
plt.show()

# %%
# The best of the three rates is as good here, with losses that rise on the way; the other two are
# not. With one step a call, ``ProjectedMM`` falls behind a rate of 0.01 as well. More networks,
# minibatches, L-BFGS and SGD are on :doc:`a page of results </generated/committed/networks>`.
