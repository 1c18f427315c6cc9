"""A softmax layer of three inputs and five classes, and its derivatives, number by number.

    python examples/worked_example.py

The example of docs/formulas.md: the Jacobian by the weights as a product of two matrices, the same
by the shortcut, and the gradient that a loss sends to the weights.
"""

from __future__ import annotations

import numpy as np

import smcore

x = np.array([0.1, 0.5, 0.4])
W = np.array(
    [
        [0.10, 0.20, 0.30, 0.40, 0.50],
        [0.60, 0.70, 0.80, 0.90, 0.10],
        [0.11, 0.12, 0.13, 0.14, 0.15],
    ]
)


def main() -> None:
    """Print every step."""
    np.set_printoptions(precision=8, suppress=True, linewidth=100)

    h = smcore.softmax_layer(x, W)
    print("h = softmax(x @ W), which sums to", h.sum(), h, sep="\n", end="\n\n")

    by_logits = smcore.softmax_jacobian(h)
    print("dS/dZ = diag(h) - h h^T", by_logits, sep="\n", end="\n\n")

    logits_by_weights = smcore.linear_weight_jacobian(x, K=5)
    print("dZ/dW: the five blocks of x", logits_by_weights, sep="\n", end="\n\n")

    product = by_logits @ logits_by_weights
    shortcut = smcore.softmax_layer_jacobian(h, x)
    print("dS/dW, the first row, one line for each class", shortcut[0].reshape(5, 3), sep="\n")
    print("product and shortcut differ by", abs(product - shortcut).max(), end="\n\n")

    print("Largest sum of a column of dS/dW:", abs(shortcut.sum(axis=0)).max())
    print("The outputs sum to 1 whatever W is: it takes a loss to move the weights.", end="\n\n")

    loss, (_, dW, _) = smcore.linear_cross_entropy_with_grad(x, W, target=0)
    print(f"Cross-entropy with class 0: {loss:.8f}; its gradient by W", dW, sep="\n")

    # The same through the Jacobian: the gradient of -log h[0] by h is -1/h[0] at 0, else 0.
    g = np.zeros(5)
    g[0] = -1 / h[0]
    through_jacobian = (g @ shortcut).reshape(5, 3).T
    through_vjp, _, _ = smcore.softmax_layer_vjp(h, x, W, g)
    print("by g @ dS/dW and by softmax_layer_vjp, the same up to", end=" ")
    print(max(abs(through_jacobian - dW).max(), abs(through_vjp - dW).max()))


if __name__ == "__main__":
    main()
