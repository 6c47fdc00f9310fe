"""
Tomography from few angles
==========================

A slice is seen from sixteen directions, where a scanner takes hundreds. What the measurements leave
open is filled by what is known: attenuation is not negative, and most neighbours are alike.
"""

import math

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# The slice is the phantom that the field draws (Shepp & Logan 1974, contrast of Toft 1996): ten
# ellipses by density, half axes, centre and angle.

ELLIPSES = [
    (1.0, 0.69, 0.92, 0.0, 0.0, 0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
]
side, views = 64, 16
centres = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
down, right = torch.meshgrid(-centres, centres, indexing="ij")
truth = torch.zeros(1, side, side, dtype=torch.float64)
for density, wide, high, x, y, degrees in ELLIPSES:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = right - x, down - y
    inside = ((cos * first + sin * second) / wide) ** 2 + ((cos * second - sin * first) / high) ** 2
    truth[0, inside <= 1] += density

# %%
# The scanner is a function: it sums the image along rays, between pixels by interpolation. Torch
# differentiates it, and the derivative of a linear map, backwards, is its adjoint.

angles = math.pi * torch.arange(views, dtype=torch.float64) / views
cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
across, along = centres[:, None], centres  # of a ray, and on it
rays = torch.stack([across * cos - along * sin, across * sin + along * cos], -1)


def project(image):  # (B, side, side) -> (B, views, side)
    grid = rays.reshape(1, views * side, side, 2).expand(len(image), -1, -1, -1)
    samples = torch.nn.functional.grid_sample(image[:, None], grid, align_corners=False)
    return samples.sum(-1).reshape(-1, views, side) * 2 / side


def back(sinogram):
    zero = sinogram.new_zeros(len(sinogram), side, side)
    return torch.func.vjp(project, zero)[1](sinogram)[0]


# %%
# No entry of this map is negative, so that it is its own ``|A|``. That is all a proved bound needs.
# The check compares both products, and what is claimed of them, at random vectors. The measurements
# come from the same map, with one percent of noise: those of a real scanner fit less well.

scanner = lmm.linear.LinearOperator(
    project, back, (side, side), (views, side), absolute=(project, back)
)
lmm.checks.assert_adjoint(scanner, truth)

torch.manual_seed(0)
clean = scanner.apply(truth)
sinogram = clean + 0.01 * clean.square().mean().sqrt() * torch.randn_like(clean)

# %%
# Filtered back projection is what scanners have computed for decades: a ramp in the frequencies of
# each view, and the adjoint.

ramp = torch.fft.rfftfreq(2 * side, dtype=torch.float64) * side / 2
filtered = torch.fft.irfft(torch.fft.rfft(sinogram, n=2 * side) * ramp, n=2 * side)[..., :side]
images = {"filtered back projection": back(filtered) * math.pi / views * side / 2}

# %%
# Least squares, with bounds on the unknowns, and with a penalty on differences. A bound and total
# variation have no joint prox in closed form; total variation that is rounded off where differences
# are small is an atom, and bounds go with it.


def differences(x):
    return torch.stack([torch.diff(x, dim=d, append=x.narrow(d, -1, 1)) for d in (1, 2)], 1)


def divergence(z):
    zero = z.new_zeros(len(z), side, side)
    return torch.func.vjp(differences, zero)[1](z)[0]


# Two neighbours along each of two dimensions: the norm is at most the root of eight.
slopes = lmm.linear.LinearOperator(
    differences, divergence, (side, side), (2, side, side), norm=math.sqrt(8)
)
lmm.checks.assert_adjoint(slopes, truth)
flat = torch.zeros(1, 2, side, side, dtype=torch.float64)
smooth = lmm.HalfQuadratic(flat, "hyperbolic", scale=0.01) @ slopes

fit = lmm.least_squares(scanner, sinogram)
settings = lmm.SolveSettings(max_iter=300)
x0 = torch.zeros_like(truth)
for name, objective, bounds in (
    ("least squares", fit, None),
    ("not negative", fit, (0, None)),
    ("not negative, few edges", fit + 0.01 * smooth, (0, None)),
):
    result = lmm.minimize(objective, x0, bounds=bounds, settings=settings)
    images[name] = result.x
    print(f"{name}: {result.certificate}")
    assert result.certificate.kind is lmm.Kind.GLOBAL
    assert bool(result.certificate.monotone.all())

# %%
# Each piece of knowledge brings the image closer, and only the last hides the directions.

errors = {name: float((x - truth).norm() / truth.norm()) for name, x in images.items()}
for name, error in errors.items():
    print(f"{name}: relative error {error:.2f}")
back_projected, plain, positive, edges = errors.values()
assert edges < positive / 2
assert positive < 0.8 * min(back_projected, plain)

figure, row = plt.subplots(1, 5, figsize=(13, 3.3))
for axes, (name, image) in zip(row, (images | {"truth": truth}).items(), strict=True):
    axes.imshow(image[0], cmap="gray", vmin=0, vmax=0.6)
    axes.set_title(f"{name}\n{errors[name]:.2f}" if name in errors else name, fontsize=9)
    axes.axis("off")
figure.tight_layout()
plt.show()
