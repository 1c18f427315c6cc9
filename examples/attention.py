"""Scaled dot-product attention, forward and backward, with a causal mask and padding.

    python examples/attention.py
    python examples/attention.py --heads 8 --length 64 --dtype float32

Two arguments of softmax do what attention asks for: `scale` divides the scores by the square root
of the depth, and `where` leaves out what a query must not see. A query with nothing to look at gets
weights of zero, not NaN. The gradients are checked against differences of the forward pass.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import smcore

Array = NDArray[np.floating]


def attention(q: Array, k: Array, v: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return what each query attends to, and the weights, which the backward pass needs."""
    scores = q @ k.swapaxes(-1, -2)
    weights = smcore.softmax(scores, where=mask, scale=q.shape[-1] ** -0.5, out=scores)
    return weights @ v, weights


def attention_vjp(
    q: Array, k: Array, v: Array, weights: Array, g: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients by q, k and v, where g is the one by the output.

    The mask is not needed again: where a weight is 0, so is its gradient.
    """
    dscores = smcore.softmax_vjp(weights, g @ v.swapaxes(-1, -2))
    dscores *= q.shape[-1] ** -0.5
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g


def visible(lengths: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Return a (batch, 1, query, key) mask: no key after the query, none after the sentence."""
    position = np.arange(length)
    causal = position[:, np.newaxis] >= position
    within = position < lengths[:, np.newaxis]
    return (causal & within[:, np.newaxis, :] & within[:, :, np.newaxis])[:, np.newaxis]


def main() -> None:
    """Run one attention layer on random sentences of different lengths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=2, help="attention heads (default: 2)")
    parser.add_argument("--length", type=int, default=6, help="longest sentence (default: 6)")
    parser.add_argument("--depth", type=int, default=8, help="of a head (default: 8)")
    parser.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    lengths = np.array([args.length, max(1, args.length // 2)])
    shape = (len(lengths), args.heads, args.length, args.depth)
    q, k, v, g = rng.standard_normal((4, *shape)).astype(args.dtype)
    mask = visible(lengths, args.length)

    _, weights = attention(q, k, v, mask)
    gradients = attention_vjp(q, k, v, weights, g)
    print("weights of the first head of the shorter sentence: padded queries attend to nothing")
    print(weights[1, 0].round(2))

    # Along any direction, the gradients say how fast sum(g * output) changes.
    direction = rng.standard_normal((3, *shape))

    def along(step: float) -> float:
        moved = (a + step * d for a, d in zip((q, k, v), direction, strict=True))
        return float((g * attention(*moved, mask)[0]).sum())

    expected = (along(1e-5) - along(-1e-5)) / 2e-5
    found = sum((a * d).sum() for a, d in zip(gradients, direction, strict=True))
    print(f"derivative along a direction: {found:.6f}, by differences {expected:.6f}")


if __name__ == "__main__":
    main()
