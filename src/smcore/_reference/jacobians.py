"""The Jacobian matrices, written out."""

from __future__ import annotations

import numpy as np

from .._blocks import blocks
from .._quiet import quiet
from .extended import Array, Extended

__all__ = ["log_softmax_jacobian", "softmax_jacobian", "softmax_layer_jacobian"]


@quiet
def softmax_jacobian(s: Array, out: Array) -> None:
    """Write ``diag(s) - s s^T``.

    Parameters
    ----------
    s : ndarray, (A, B, K)
        Softmax outputs.
    out : ndarray, (A, B, K, K)
        Result, C-contiguous.
    """
    np.multiply(-s[..., :, np.newaxis], s[..., np.newaxis, :], out=out)  # rounds once
    diagonal = diagonals(out)
    for rows in blocks(s.shape[:2], s.shape[2]):
        diagonal[rows] = variances(s[rows]).rounded()


@quiet
def log_softmax_jacobian(log_s: Array, out: Array) -> None:
    """Write ``I - 1 s^T``, with ``-expm1(log_s)`` on the diagonal.

    Parameters
    ----------
    log_s : ndarray, (A, B, K)
        Log-softmax outputs.
    out : ndarray, (A, B, K, K)
        Result, C-contiguous.
    """
    diagonal = diagonals(out)
    for rows in blocks(log_s.shape[:2], log_s.shape[2]):
        wide = Extended.of(log_s[rows]).hi
        out[rows] = -np.exp(wide)[..., np.newaxis, :]
        diagonal[rows] = -np.expm1(wide)


@quiet
def softmax_layer_jacobian(s: Array, x: Array, out: Array) -> None:
    """Write the derivative of ``s = softmax(W^T x + b)`` by ``W``.

    Parameters
    ----------
    s : ndarray, (N, K)
        Outputs of the layer.
    x : ndarray, (N, J)
        Inputs of the layer.
    out : ndarray, (N, K, K * J)
        Result, C-contiguous: ``s[t] * ((i == t) - s[i]) * x[j]`` in row `t`, column ``i * J + j``.
    """
    (count, size), inputs = s.shape, x.shape[1]
    products = out.reshape(count, size, size, inputs)
    for _, rows in blocks((1, count), size * size):
        wide, factor = Extended.of(s[rows]).hi, Extended.of(x[rows]).hi
        jacobian = -wide[:, :, np.newaxis] * wide[:, np.newaxis, :]
        diagonals(jacobian)[...] = variances(s[rows]).rounded()
        np.multiply(
            jacobian[..., np.newaxis],
            factor[:, np.newaxis, np.newaxis, :],
            out=products[rows],
            dtype=wide.dtype,
            casting="unsafe",
        )


def variances(s: Array) -> Extended:
    """Return ``s * (1 - s)``, the diagonal of the Jacobian.

    Above one half ``1 - s`` is taken as the sum of the others, whose digits it has lost.
    """
    wide = Extended.of(s)
    k = np.argmax(wide.hi, axis=-1, keepdims=True)
    complement = wide.number(1.0) - wide
    at_k = complement.at(k)
    others = wide.without(k).sum()
    large = wide.at(k).hi > 0.5
    return wide * complement.put(k, others.where(large) + at_k.where(~large))


def diagonals(matrices: Array) -> Array:
    """Return the diagonals of C-contiguous ``(..., K, K)`` matrices as a writable view."""
    size = matrices.shape[-1]
    return matrices.reshape(*matrices.shape[:-2], size * size)[..., :: size + 1]
