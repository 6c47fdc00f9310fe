"""
A blurred photograph with dead pixels
=====================================

A photograph is blurred, and one pixel in ten is dead: black or white, whatever was there. Least
squares believes them. A loss that grows linearly for large residuals does not, and it has a bound
that is proved, as squares do.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import learnmm as lmm

# %%
# The photograph comes with scikit-learn: a crop, in grey, averaged over squares of four pixels. The
# blur is known by its kernel, and no matrix is formed.

torch.manual_seed(0)
side = 64
photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).double().mean(-1) / 255
truth = torch.nn.functional.avg_pool2d(photograph[None], 4)[:, 14 : 14 + side, 42 : 42 + side]

along = torch.exp(-(torch.arange(-6, 7, dtype=torch.float64) ** 2) / 4.5)
kernel = along[:, None] * along
blur = lmm.linear.convolution(kernel / kernel.sum(), (side, side))

data = blur.apply(truth) + 0.01 * torch.randn_like(truth)
dead = torch.rand_like(truth) < 0.1
data[dead] = (torch.rand_like(truth) < 0.5).to(truth)[dead]

# %%
# Both losses get the same prior, total variation: few pixels differ from their neighbours. How much
# it should weigh is not known, so that three weights are tried, as one batch of three problems.

weights = torch.tensor([0.001, 0.01, 0.05], dtype=torch.float64)
prior = lmm.proximal.TotalVariation(weights[:, None, None], dim=(-2, -1))
y = data.expand(3, side, side)
fits = {
    "least squares": lmm.least_squares(blur, y),
    "Huber's loss": lmm.HalfQuadratic(y, "huber", scale=0.02) @ blur,
}
settings = lmm.SolveSettings(max_iter=60)
results = {name: lmm.minimize(fit + prior, y, settings=settings) for name, fit in fits.items()}

# %%
# Decibels say how close an image is to the truth: ten more are a tenth of the squared error.


def decibels(image):
    return -10 * (image - truth).square().mean((-2, -1)).log10()


best = {"data": data[0]}
for name, result in results.items():
    quality = decibels(result.x)
    best[name] = result.x[quality.argmax()]
    row = ", ".join(
        f"{float(q):.1f} at {float(w):g}" for w, q in zip(weights, quality, strict=True)
    )
    print(f"{name}: dB {row}\n  {result.certificate}")
    assert result.certificate.kind is lmm.Kind.GLOBAL
    assert bool(result.certificate.monotone.all())

# %%
# Each is shown at its best weight, chosen with the truth at hand. Least squares has to smooth the
# dead pixels away, and smooths the flower with them.

assert decibels(best["Huber's loss"]) > decibels(best["least squares"]) + 2

figure, row = plt.subplots(1, 4, figsize=(11, 3.2))
for axes, (name, image) in zip(row, (best | {"truth": truth[0]}).items(), strict=True):
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    quality = f", {float(decibels(image)):.1f} dB" if name != "truth" else ""
    axes.set_title(f"{name}{quality}", fontsize=10)
    axes.axis("off")
figure.tight_layout()
plt.show()

# %%
# Losses that forgive outliers altogether, such as Welsch's, are at :class:`~learnmm.HalfQuadratic`.
# They are not convex, and their bounds are proved all the same.
