"""
A bound of your own, checked and broken
=======================================

A majorant is any function from a point to a :class:`~learnmm.Bound`. Whether it is one,
:func:`~learnmm.checks.assert_majorant` tries to refute: at random points, and by a search for the
worst.
"""

import math

import matplotlib.pyplot as plt
import torch

import learnmm as lmm

# %%
# The objective is a sum of ``1 - cos(x_i - y_i)``, a loss for angles, written as ``2 sin^2`` of the
# half, in which no digits cancel. Its second derivative is at most one, so that curvature one is
# valid everywhere.

y = torch.tensor([[0.5, -1.0]], dtype=torch.float64)


def angles(x):
    return (2 * torch.sin((x - y) / 2) ** 2).sum(1)


def constant(level):
    def majorant(x, aux=None):
        return lmm.Bound(
            lmm.Kind.GLOBAL, lmm.curvature.ScalarCurvature(torch.full((len(x),), level).to(x))
        )

    return majorant


x = torch.tensor([[2.0, 0.3]], dtype=torch.float64)
lmm.checks.assert_majorant(constant(1.0), angles, x)
print("curvature 1 was not refuted")

# %%
# A curvature of one half is not enough. The check says where it fails, and by which factor.

try:
    lmm.checks.assert_majorant(constant(0.5), angles, x)
except lmm.checks.LawViolation as violation:
    print(violation)
else:
    raise AssertionError("curvature 1/2 is no bound")

# %%
# A sharper one: ``1 - cos t`` is even and, up to ``t = pi``, concave in ``t^2``. A tangent in
# ``t^2`` lies above it there, which is a parabola of curvature ``sin(t) / t``; beyond pi the
# parabola is above two, which ``1 - cos`` never exceeds. Angles are first brought into one period.


def sharp(x, aux=None):
    t = torch.remainder(x - y + math.pi, 2 * math.pi) - math.pi
    return lmm.Bound(lmm.Kind.GLOBAL, lmm.curvature.DiagonalCurvature(torch.sinc(t / math.pi)))


points = y + torch.linspace(-3, 3, 20, dtype=torch.float64)[:, None]
lmm.checks.assert_majorant(sharp, angles, points)
print("curvature sin(t) / t was not refuted")

# %%
# Its minimizer is the target itself: one step, where curvature one takes more. Under either bound
# descent is proved before a step is tried.

start = torch.tensor([[3.0, 1.5]], dtype=torch.float64)
figure, axes = plt.subplots(figsize=(6, 3.5))
for name, majorant in {"curvature 1": constant(1.0), "sin(t) / t": sharp}.items():
    run = lmm.minimize(angles, start, majorant=majorant, proposer=None, history=True)
    print(f"{name}: {run.certificate}")
    values = torch.cat([run.initial_fun, run.history.value[:, 0]])
    axes.semilogy(values.clamp(min=1e-32), "o-", markersize=4, label=name)
axes.set(xlabel="steps", ylabel="objective")
axes.legend(frameon=False)
figure.tight_layout()
plt.show()
