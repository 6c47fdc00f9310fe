"""
A thousand problems at once
===========================

A decay is fitted to each of a thousand noisy curves. They are solved as one batch, and each has its
own steps, its own end and its own status.
"""

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# Amplitudes and rates differ from curve to curve.

generator = torch.Generator().manual_seed(0)
problems, t = 1000, torch.linspace(0, 4, 40, dtype=torch.float64)
amplitude = 1 + torch.rand(problems, 1, generator=generator, dtype=torch.float64)
rate = 0.5 + 2 * torch.rand(problems, 1, generator=generator, dtype=torch.float64)
noise = torch.randn(problems, len(t), generator=generator, dtype=torch.float64)
curves = amplitude * torch.exp(-rate * t) + 0.03 * noise

# %%
# Tensors in ``args`` with the batch in front belong to their problems; others are shared.
# Logarithms of amplitude and rate keep both positive.


def misfit(logs, curves):
    amplitude, rate = logs.exp().unbind(1)
    return ((amplitude[:, None] * torch.exp(-rate[:, None] * t) - curves) ** 2).sum(1)


result = lmm.minimize(misfit, torch.zeros(problems, 2, dtype=torch.float64), args=(curves,))
print(result)
assert bool(result.certificate.monotone.all())

# %%
# Problems that are done leave the batch, and the others go on.

fitted = result.x.exp()
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
left.plot(rate, fitted[:, 1], ".", markersize=2)
left.plot([0.5, 2.5], [0.5, 2.5], "k", linewidth=1)
left.set(xlabel="true rate", ylabel="fitted rate")
right.hist(result.iterations, bins=range(int(result.iterations.max()) + 2))
right.set(xlabel="steps tried", ylabel="problems")
figure.tight_layout()
plt.show()
