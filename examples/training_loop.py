"""Train a network with one hidden layer on the handwritten digits of scikit-learn.

    python examples/training_loop.py
    python examples/training_loop.py --hidden 128 --epochs 40 --label-smoothing 0.1

The output layer, its loss and its three gradients are one call to smcore; what is left of the
backward pass is the hidden layer, in NumPy. Needs scikit-learn: the extra [demo].
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import smcore

Array = NDArray[np.float32]


class Network:
    """relu(X @ V + c), then a softmax layer with weights W and bias b."""

    def __init__(self, inputs: int, hidden: int, classes: int, rng: np.random.Generator) -> None:
        self.V = (rng.standard_normal((inputs, hidden)) * (2 / inputs) ** 0.5).astype(np.float32)
        self.c = np.zeros(hidden, np.float32)
        self.W = (rng.standard_normal((hidden, classes)) / hidden**0.5).astype(np.float32)
        self.b = np.zeros(classes, np.float32)

    def hidden(self, X: Array) -> Array:
        return np.maximum(X @ self.V + self.c, 0)

    def predict(self, X: Array) -> NDArray[np.intp]:
        return smcore.softmax_layer(self.hidden(X), self.W, self.b).argmax(axis=1)

    def step(self, X: Array, y: NDArray[np.int64], lr: float, smoothing: float) -> float:
        """Make one step of gradient descent, and return the loss before it."""
        H = self.hidden(X)
        loss, (dH, dW, db) = smcore.linear_cross_entropy_with_grad(
            H, self.W, y, self.b, label_smoothing=smoothing
        )
        dH *= H > 0  # through the relu
        self.W -= lr * dW
        self.b -= lr * db
        self.V -= lr * (X.T @ dH)
        self.c -= lr * dH.sum(axis=0)
        return float(loss)


def main() -> None:
    """Train, printing the loss and the accuracy on held-out rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=64, help="hidden units (default: 64)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data (default: 20)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows per step (default: 32)")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (default: 0.05)")
    parser.add_argument(
        "--label-smoothing", type=float, default=0.0, help="share spread evenly (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=args.seed)
    rng = np.random.default_rng(args.seed)
    network = Network(X.shape[1], args.hidden, 10, rng)
    for epoch in range(1, args.epochs + 1):
        batches = np.split(rng.permutation(len(X)), range(args.batch_size, len(X), args.batch_size))
        losses = [network.step(X[i], y[i], args.lr, args.label_smoothing) for i in batches]
        accuracy = (network.predict(X_test) == y_test).mean()
        print(f"epoch {epoch:3}  loss {np.mean(losses):.4f}  test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
