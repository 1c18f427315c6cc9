"""
A mixture of Gaussians in log space
===================================

The density of a mixture is a logsumexp over its parts, with the weights as `b`. Which part a point
belongs to is a softmax. Far from all parts the densities underflow; their logarithms do not. EM
fits four parts, and the log-likelihood never falls.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

rng = np.random.default_rng(7)
true_means = np.array([[-4.0, 0.0], [0.0, 3.0], [4.0, 0.0], [0.0, -2.5]])
points = true_means[rng.integers(4, size=600)] + rng.standard_normal((600, 2)) * [1.0, 0.6]


def log_densities(x, means, spreads):
    """Return the log-density of each part at each point, of shape (N, 4)."""
    z = (x[:, np.newaxis] - means) / spreads
    return -0.5 * (z**2).sum(axis=-1) - np.log(2 * np.pi * spreads.prod(axis=-1))


means = points[rng.choice(600, 4, replace=False)]
spreads, shares, likelihoods = np.full((4, 2), 2.0), np.full(4, 0.25), []
for _step in range(40):
    parts = log_densities(points, means, spreads)
    likelihoods.append(smcore.logsumexp(parts, b=shares).mean())
    belongs = smcore.softmax(parts + np.log(shares))  # to which part, with what probability
    counts = belongs.sum(axis=0)[:, np.newaxis]
    means = belongs.T @ points / counts
    spreads = np.sqrt(belongs.T @ points**2 / counts - means**2)
    shares = counts[:, 0] / len(points)

# %%
# The logarithm of the density is finite a hundred spreads away.

side = np.linspace(-8, 8, 160)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
surface = smcore.logsumexp(log_densities(grid, means, spreads), b=shares).reshape(160, 160)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), width_ratios=(1.3, 1))
left.contourf(side, side, surface, levels=np.arange(-40, 0, 2.5), cmap="Blues", extend="min")
left.scatter(*points.T, c=belongs.argmax(axis=1), cmap="Set2", s=8, edgecolor="0.3", lw=0.3)
left.plot(*means.T, "k+", ms=12, mew=2)
left.set(title="logarithm of the density", aspect="equal")
left.grid(False)
right.plot(likelihoods, "o-", ms=3)
right.set(xlabel="step of EM", ylabel="mean log-likelihood")
plt.show()

far = log_densities(np.array([[200.0, 0.0]]), means, spreads)
print(f"far away: {smcore.logsumexp(far, b=shares)[0]:.1f}, not the logarithm of 0")
