"""
Rows of different lengths
=========================

Sets of candidates differ in size. They are kept in one array; `where` says which entries there are.
What stands in the others is never looked at, be it NaN. Losses and derivatives take the same
argument.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

rng = np.random.default_rng(3)
lengths = np.array([12, 3, 7, 1, 9, 0, 5, 11])
there = np.arange(12) < lengths[:, np.newaxis]
scores = np.where(there, 2 * rng.standard_normal((8, 12)), np.nan)

s = smcore.softmax(scores, where=there)
labels = np.where(lengths > 0, 0, -100)  # -100: this row has no label
loss, gradient = smcore.cross_entropy_with_grad(scores, labels, where=there, reduction="sum")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True)
pictures = {
    "scores, with NaN": (scores, "PuOr", 5),
    "softmax": (s, "PuOr", 1),
    "gradient of the loss": (gradient, "PuOr", 1),
}
for axis, (name, (values, colours, limit)) in zip(axes, pictures.items(), strict=True):
    image = axis.imshow(
        np.where(there, values, np.nan), cmap=colours, vmin=-limit, vmax=limit, aspect="auto"
    )
    axis.set_facecolor("0.88")
    axis.set(title=name, xlabel="candidate")
    axis.grid(False)
    figure.colorbar(image, ax=axis, shrink=0.8)
axes[0].set_ylabel("row")
plt.show()

# %%
# The empty row has probabilities of 0, and no floating-point warning was given.

print(s.sum(axis=-1).round(6))
print("finite everywhere:", np.isfinite(s).all() and np.isfinite(gradient).all())
