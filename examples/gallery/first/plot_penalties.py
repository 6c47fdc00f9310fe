"""
Bounds and penalties with kinks
===============================

What is known of the unknowns goes into the problem: that they are not negative, that few of them
differ from zero, or that few of them differ from their neighbours. Each is added to the same data
term, whose majorant is ``GLOBAL``.
"""

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# Two signals behind the same blur: spikes, and steps.

torch.manual_seed(0)
n = 128
spikes, steps = torch.zeros(2, n, dtype=torch.float64)
spikes[[20, 45, 50, 90]] = torch.tensor([1.0, 0.8, 1.2, 0.6], dtype=torch.float64)
steps[30:60], steps[60:100] = 1.0, 0.4
truth = torch.stack([spikes, steps])

time = torch.arange(-8, 9, dtype=torch.float64)
kernel = torch.exp(-((time / 3) ** 2) / 2)
blur = lmm.linear.convolution(kernel / kernel.sum(), (n,))
data = blur.apply(truth) + 0.01 * torch.randn(2, n, dtype=torch.float64)

# %%
# ``bounds=`` keeps every iterate inside, to the bit; penalties are added.

fit = lmm.least_squares(blur, data)
x0 = torch.zeros_like(data)
settings = lmm.SolveSettings(max_iter=200)
estimates = {
    "not negative": lmm.minimize(fit, x0, bounds=(0, None), settings=settings),
    "few spikes (L1)": lmm.minimize(
        fit + 0.005 * lmm.proximal.L1(), x0, bounds=(0, None), settings=settings
    ),
    "few steps (total variation)": lmm.minimize(
        fit + 0.01 * lmm.proximal.TotalVariation(), x0, settings=settings
    ),
}
for name, result in estimates.items():
    print(f"{name}: {result.certificate}")
    assert bool(result.certificate.monotone.all())

# %%
# Each penalty is right for one of the two signals. The choice is knowledge, and no solver makes it.

figure, rows = plt.subplots(3, 2, figsize=(9, 6), sharex=True, sharey="col")
for row, (name, result) in zip(rows, estimates.items(), strict=True):
    for axes, signal, y, x in zip(row, truth, data, result.x, strict=True):
        axes.plot(y, color="0.7", linewidth=1, label="data")
        axes.plot(signal, "k:", linewidth=1, label="truth")
        axes.plot(x, linewidth=1.5, label="estimate")
        axes.set_title(name, fontsize=9)
rows[0, 0].legend(frameon=False, fontsize=8)
figure.tight_layout()
plt.show()
