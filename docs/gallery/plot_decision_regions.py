"""
Decision regions of a softmax layer
===================================

Three classes in the plane. Where the colours are pale, the layer is not sure. The arrows are
gradients of the entropy, made with :func:`smcore.softmax_layer_vjp`: they point to where the layer
is less sure.
"""

import matplotlib.pyplot as plt
import numpy as np

import smcore

rng = np.random.default_rng(0)
centres = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
y = rng.integers(3, size=300)
X = centres[y] + rng.standard_normal((300, 2))

W, b = np.zeros((2, 3)), np.zeros(3)
for _step in range(25):
    _, (_, dW, db) = smcore.linear_cross_entropy_with_grad(X, W, y, b)
    W, b = W - 0.5 * dW, b - 0.5 * db

# %%
# Probabilities on a grid are colours; the entropy's gradient is a product with Jacobians.

side = np.linspace(-5, 5, 200)
grid = np.stack(np.meshgrid(side, side), axis=-1)
s = smcore.softmax_layer(grid.reshape(-1, 2), W, b).reshape(200, 200, 3)
colours = np.array([[0.0, 0.45, 0.7], [0.84, 0.37, 0.0], [0.0, 0.62, 0.45]])

few = grid[8::20, 8::20].reshape(-1, 2)
at_few = smcore.softmax_layer(few, W, b)
dx = smcore.softmax_layer_vjp(at_few, few, W, -(np.log(at_few) + 1))[2]

figure, axis = plt.subplots(figsize=(6.5, 5.5))
certainty = (s.max(axis=-1, keepdims=True) - 1 / 3) * 1.5
picture = 1 - certainty * (1 - s @ colours) * 0.75
axis.imshow(picture, extent=(-5, 5, -5, 5), origin="lower")
axis.scatter(*X.T, c=colours[y], s=14, edgecolor="white", lw=0.5)
axis.quiver(*few.T, *dx.T, color="0.15", width=0.004, scale=8, pivot="mid")
axis.set(xlabel="first feature", ylabel="second feature", xlim=(-5, 5), ylim=(-5, 5))
axis.grid(False)
plt.show()
print(f"right: {np.mean((X @ W + b).argmax(axis=1) == y):.1%}")
