"""
Training curves, and what the weights look like
===============================================

Softmax regression on handwritten digits by mini-batches with momentum.
:func:`smcore.linear_cross_entropy_with_grad` is the layer and its loss in one call. It gives the
gradients of the weights and the bias; the logits are never kept.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import smcore

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
rng = np.random.default_rng(0)
order = rng.permutation(len(X))
train, test = order[:1350], order[1350:]

# %%
# The loop. The test loss takes the logits alone, so it is :func:`smcore.linear_cross_entropy`.

W, b = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)
speed_W, speed_b = np.zeros_like(W), np.zeros_like(b)
losses, test_losses, accuracies = [], [], []
for _epoch in range(30):
    for batch in np.array_split(rng.permutation(train), 21):
        loss, (_, dW, db) = smcore.linear_cross_entropy_with_grad(X[batch], W, y[batch], b)
        speed_W, speed_b = 0.9 * speed_W - 0.1 * dW, 0.9 * speed_b - 0.1 * db
        W, b = W + speed_W, b + speed_b
        losses.append(loss)
    test_losses.append(smcore.linear_cross_entropy(X[test], W, y[test], b))
    accuracies.append(np.mean((X[test] @ W + b).argmax(axis=1) == y[test]))
print(f"test loss {test_losses[-1]:.3f}, accuracy {accuracies[-1]:.1%}")

# %%
# The loss of each batch, and of the test rows after each pass.

figure, (left, right) = plt.subplots(1, 2)
left.plot(np.arange(len(losses)) / 21, losses, lw=0.8, alpha=0.6, label="batches")
left.plot(np.arange(1, 31), test_losses, lw=2, label="test rows")
left.set(xlabel="passes over the data", ylabel="cross-entropy", yscale="log")
left.legend()
right.plot(np.arange(1, 31), np.array(accuracies) * 100, "C2", lw=2)
right.set(xlabel="passes over the data", ylabel="right on test rows, %")
plt.show()

# %%
# A column of `W` has one weight for each pixel: blue pixels speak for the digit, red ones against.

figure, axes = plt.subplots(2, 5, figsize=(8, 3.6))
limit = abs(W).max()
for digit, axis in enumerate(axes.flat):
    axis.imshow(W[:, digit].reshape(8, 8), cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set_title(digit)
    axis.axis("off")
plt.show()
