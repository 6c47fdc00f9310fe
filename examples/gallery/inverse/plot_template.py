"""
A template, found under any exposure
====================================

A camera shakes, and its exposure changes from frame to frame. Where did each frame look? Least
squares compares brightness, and moves to where it fits. The cosine distance compares shape.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import learnmm as lmm

# %%
# The template is a photograph that comes with scikit-learn, in grey and reduced. A window of 24
# pixels looks at it, at any offset: between pixels the image is interpolated.

photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).double().mean(-1) / 255
scene = torch.nn.functional.avg_pool2d(photograph[None, None], 12, stride=4)
height, width = scene.shape[2:]
steps = torch.arange(24, dtype=torch.float64)
corner = torch.tensor([40.0, 60.0], dtype=torch.float64)  # down, right


def window(offset):  # (B, 2) -> (B, 24, 24)
    down, right = (corner + offset).unbind(1)
    grid = torch.stack(
        [
            (2 * (right[:, None, None] + steps) + 1).expand(-1, 24, -1) / width - 1,
            (2 * (down[:, None, None] + steps[:, None]) + 1).expand(-1, -1, 24) / height - 1,
        ],
        -1,
    )
    scenes = scene.expand(len(offset), -1, -1, -1)
    return torch.nn.functional.grid_sample(scenes, grid, mode="bicubic", align_corners=False)[:, 0]


# %%
# Three hundred frames: offsets up to three pixels, exposures from a fifth to five times, noise of
# two percent.

generator = torch.Generator().manual_seed(0)
frames, float64 = 300, torch.float64
offsets = 6 * torch.rand(frames, 2, generator=generator, dtype=float64) - 3
gains = 5 ** (2 * torch.rand(frames, generator=generator, dtype=float64) - 1)
clean = window(offsets)
size = clean.square().mean((1, 2), keepdim=True).sqrt()
noise = torch.randn(clean.shape, generator=generator, dtype=float64)
seen = gains[:, None, None] * (clean + 0.02 * size * noise)

# %%
# Three ways to compare. The third is least squares with the gain among the unknowns, which is right
# too: there is one more unknown, and a start and a scale for it to think of. The camera shakes by
# less than six pixels; no offset beyond is looked at.


def squares(offset, seen):
    return (window(offset) - seen).square().mean((1, 2))


def shape(offset, seen):
    return lmm.CosineDistance(seen)(window(offset))


def squares_and_gain(unknowns, seen):
    logarithm = unknowns[:, 2, None, None]
    return (logarithm.exp() * window(unknowns[:, :2]) - seen).square().mean((1, 2))


results = {}
for name, distance, unknowns in (
    ("least squares", squares, 2),
    ("cosine distance", shape, 2),
    ("least squares, gain unknown", squares_and_gain, 3),
):
    x0 = torch.zeros(frames, unknowns, dtype=float64)
    results[name] = lmm.minimize(distance, x0, args=(seen,), bounds=(-6, 6))

# %%
# All frames are solved at once, and do not see each other. What a frame needed is its own.

found = {}
for name, result in results.items():
    error = (result.x[:, :2] - offsets).norm(dim=1)
    found[name] = float((error < 0.25).double().mean())
    print(
        f"{name}: {found[name]:.0%} of the frames within a quarter of a pixel, "
        f"{float(result.iterations.double().mean()):.0f} steps each"
    )
    assert bool(result.certificate.monotone.all())

assert found["cosine distance"] > 0.95 > 0.3 > found["least squares"]
assert found["least squares, gain unknown"] > 0.95

# %%
# Least squares is right where the exposure happens to be that of the template, and nowhere else.

figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(12, 3.6), width_ratios=(1.5, 0.9, 1.6), layout="constrained"
)
left.imshow(scene[0, 0], cmap="gray")
left.add_patch(plt.Rectangle(corner.flip(0).tolist(), 24, 24, fill=False, color="C1"))
left.set_title("where the frames look", fontsize=10)
left.axis("off")
shown = gains.argsort()[[10, 100, 200, 290]].reshape(2, 2)
middle.imshow(seen[shown].permute(0, 2, 1, 3).reshape(48, 48), cmap="gray")
middle.set_title("four of them", fontsize=10)
middle.axis("off")
for (name, result), marker in zip(results.items(), (".", "o", "x"), strict=True):
    error = (result.x[:, :2] - offsets).norm(dim=1)
    right.loglog(gains, error, marker, markersize=4, fillstyle="none", label=name)
right.set(xlabel="exposure", ylabel="error in pixels")
right.set_xticks([0.2, 0.5, 1, 2, 5], ["1/5", "1/2", "1", "2", "5"])
right.xaxis.minorticks_off()
right.legend(frameon=False, fontsize=8)
plt.show()
