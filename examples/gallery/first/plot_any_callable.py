"""
Any callable, with a certificate
================================

A function of torch operations, five starts at once, nothing tuned. The certificate says what was
promised about the steps, and what became of them.
"""

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# The function takes a batch of points, ``(B, 2)``, and returns one value each, ``(B,)``.


def rosenbrock(x):
    return 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2


starts = torch.tensor(
    [[-1.5, 2.0], [-1.5, -0.5], [0.0, 2.5], [1.5, -0.5], [1.8, 1.0]], dtype=torch.float64
)

# %%
# A callback sees every iterate of every problem.

path = [starts]
result = lmm.minimize(rosenbrock, starts, callback=lambda state, info: path.append(state.x.clone()))
print(result)

# %%
# No bound is proved for a function that tells nothing of itself, hence ``ESTIMATE``. Descent does
# not hang on it: each step was verified, and those that did not lower the function were refused.

assert bool(result.success.all() and result.certificate.monotone.all())

walks = torch.stack(path)
grid = torch.stack(
    torch.meshgrid(torch.linspace(-2, 2, 200), torch.linspace(-1, 3, 200), indexing="xy"), -1
)
values = rosenbrock(grid.reshape(-1, 2)).reshape(200, 200)
figure, axes = plt.subplots(figsize=(6, 5))
axes.contour(grid[..., 0], grid[..., 1], (1 + values).log(), 20, cmap="Greys", linewidths=0.7)
for problem in range(len(starts)):
    axes.plot(*walks[:, problem].T, ".-", linewidth=1, markersize=4)
axes.plot(1, 1, "k*", markersize=12)
axes.set(xlabel="$x_1$", ylabel="$x_2$", title="Five problems that do not see each other")
plt.show()
