"""
Attention masks
===============

`where` says what takes part, `scale` divides by the square root of the depth. A query that may see
nothing gets weights of zero, not NaN.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

length, depth = 16, 8
rng = np.random.default_rng(1)
q, k = rng.standard_normal((2, length, depth))
scores = q @ k.T

position = np.arange(length)
behind = position[:, np.newaxis] - position
within = position < 11  # the sentence has 11 words, the rest is padding
masks = {
    "all": np.ones((length, length), bool),
    "causal": behind >= 0,
    "causal, window of 4": (behind >= 0) & (behind < 4),
    "causal, padded": (behind >= 0) & within & within[:, np.newaxis],
}

figure, axes = plt.subplots(1, 4, figsize=(10, 3), sharey=True)
for axis, (name, mask) in zip(axes, masks.items(), strict=True):
    weights = smcore.softmax(scores, where=mask, scale=depth**-0.5)
    image = axis.imshow(np.where(mask, weights, np.nan), cmap="viridis", vmin=0, vmax=0.5)
    axis.set_facecolor("0.88")
    axis.set(title=name, xlabel="key")
    axis.grid(False)
axes[0].set_ylabel("query")
figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
plt.show()

# %%
# Rows sum to 1, or to 0 where the mask leaves nothing.

print(weights.sum(axis=-1).round(6))

# %%
# The backward pass does not need the mask: where a weight is 0, so is its gradient.

g = rng.standard_normal((length, length))
gradient = smcore.softmax_vjp(weights, g)
print(np.all(gradient[~mask] == 0))
