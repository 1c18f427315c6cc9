"""
Newton's method against gradient descent
========================================

:func:`smcore.linear_cross_entropy_hvp` multiplies the Hessian of softmax regression with a
direction, without making the Hessian. SciPy's ``newton-cg`` needs nothing else. What is compared
is work: passes over the data, where a gradient counts one, and so does a product with the Hessian.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_digits

import smcore

X, y = load_digits(return_X_y=True)
X = X / 16
penalty = 1e-3
passes, history = 0.0, {}


def value_and_gradient(flat):
    global passes
    passes += 1
    W = flat.reshape(64, 10)
    loss, (_, dW, _) = smcore.linear_cross_entropy_with_grad(X, W, y)
    return loss + penalty / 2 * flat @ flat, (dW + penalty * W).ravel()


def hessian_product(flat, direction):
    global passes
    passes += 1
    W, V = flat.reshape(64, 10), direction.reshape(64, 10)
    HW, _ = smcore.linear_cross_entropy_hvp(X, W, V, y)
    return (HW + penalty * V).ravel()


def objective(flat):
    loss = smcore.linear_cross_entropy(X, flat.reshape(64, 10), y)
    return loss + penalty / 2 * flat @ flat


# %%
# Newton's method, and L-BFGS, by SciPy.

for method in ("newton-cg", "L-BFGS-B"):
    passes, steps = 0.0, []
    options = (
        {"hessp": hessian_product}
        if method == "newton-cg"
        else {"options": {"ftol": 1e-16, "gtol": 1e-9}}
    )
    minimize(
        value_and_gradient,
        np.zeros(640),
        jac=True,
        method=method,
        callback=lambda flat: steps.append((passes, objective(flat))),  # noqa: B023
        **options,
    )
    history[method] = np.array(steps)

# %%
# Stochastic gradient descent with batches of 64.

rng = np.random.default_rng(0)
W, steps = np.zeros((64, 10)), []
for epoch in range(200):
    for batch in np.array_split(rng.permutation(len(X)), 28):
        dW = smcore.linear_cross_entropy_with_grad(X[batch], W, y[batch])[1][1]
        W -= 0.5 / (1 + epoch / 10) * (dW + penalty * W)
    steps.append((epoch + 1, objective(W.ravel())))
history["SGD, batches of 64"] = np.array(steps)

# %%
# The distance from the best loss that any of them found.

best = min(steps[:, 1].min() for steps in history.values())
figure, axis = plt.subplots()
for name, steps in history.items():
    axis.semilogy(steps[:, 0], np.maximum(steps[:, 1] - best, 1e-14), lw=2, label=name)
axis.set(xlabel="passes over the data", ylabel="loss above the least", xlim=(0, 200))
axis.legend()
plt.show()
