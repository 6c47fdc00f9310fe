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
# The closure returns the loss; what it costs is counted in its evaluations. On all data one call may
# take twenty steps, as one of ``torch.optim.LBFGS`` does, and learns from each for the next.

EVALUATIONS = 300
model, seen = network(), []


def closure():
    value = loss(model)
    seen.append(float(value.detach()))
    return value


optimizer = lmm.optim.ProjectedMM(model.parameters(), settings=lmm.SolveSettings(max_iter=20))
after = [(0, float(loss(model).detach()))]
while len(seen) < EVALUATIONS:
    optimizer.step(closure)
    after.append((len(seen), float(loss(model).detach())))
assert all(later <= earlier for (_, earlier), (_, later) in pairwise(after))
print(optimizer.last_result.certificate)

# %%
# The same for Adam, one evaluation a step.

figure, axes = plt.subplots(figsize=(6, 3.5))
axes.semilogy(*zip(*after, strict=True), "k", linewidth=2, label="ProjectedMM")
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
# not. With the default of one step a call, which is made for minibatches, ``ProjectedMM`` falls
# behind a rate of 0.01 as well. More networks, minibatches, L-BFGS and SGD are on
# :doc:`a page of results </generated/committed/networks>`.
