"""Time smcore in code that Numba compiles beside loops written for Numba by hand.

    OMP_NUM_THREADS=1 python benchmarks/adapters/on_numba.py

Prints a table in Markdown, in microseconds of CPU time: the least of several repetitions, in turn,
on one thread. The first lines are single calls from compiled code, the overhead of each included.
"""

from __future__ import annotations

import numba
import numpy as np
from timing import SHAPES, print_table, rows_of

import smcore

LOOPS = 1000  # calls of one row


@numba.njit
def softmax(x):
    """Call smcore."""
    return smcore.softmax(x)


@numba.njit(error_model="numpy")
def peer_row(x, out):
    """Write what users of Numba write themselves."""
    peak = x.max()
    total = x.dtype.type(0)
    for i in range(len(x)):
        out[i] = np.exp(x[i] - peak)
        total += out[i]
    for i in range(len(x)):
        out[i] /= total


@numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def peer_softmax(x):
    """Do so for rows, and let the compiler reorder."""
    out = np.empty_like(x)
    for i in range(len(x)):
        peer_row(x[i], out[i])
    return out


@numba.njit
def loss(x, labels):
    """Call smcore."""
    return smcore.cross_entropy_with_grad(x, labels)


@numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def peer_loss(x, labels):
    """Return the mean loss and its gradient, as users write them."""
    grad, found, n = np.empty_like(x), x.dtype.type(0), x.dtype.type(len(x))
    for i in range(len(x)):
        peak, total = x[i].max(), x.dtype.type(0)
        for j in range(x.shape[1]):
            grad[i, j] = np.exp(x[i, j] - peak)
            total += grad[i, j]
        found += np.log(total) + peak - x[i, labels[i]]
        for j in range(x.shape[1]):
            grad[i, j] /= total * n
        grad[i, labels[i]] -= 1 / n
    return found / n, grad


@numba.njit
def each_row(x):
    """Call smcore for each row, with what results are written to."""
    out = np.empty_like(x)
    for i in range(len(x)):
        smcore.softmax(x[i], out=out[i])
    return out


@numba.njit
def each_row_anew(x):
    """Call smcore for each row, with a new array for each."""
    total = 0.0
    for i in range(len(x)):
        total += smcore.softmax(x[i])[0]
    return total


@numba.njit
def peer_each_row_anew(x):
    """Do the same by hand."""
    total = 0.0
    for i in range(len(x)):
        out = np.empty_like(x[i])
        peer_row(x[i], out)
        total += out[0]
    return total


def cases(n, k):
    """Yield for one shape what is timed: a name, ours and its peer."""
    x, labels, _, _ = rows_of(n, k)
    if n == LOOPS:
        yield "row by row, `out`", lambda: each_row(x), lambda: peer_softmax(x)
        yield "row by row, new arrays", lambda: each_row_anew(x), lambda: peer_each_row_anew(x)
        return
    yield "softmax", lambda: softmax(x), lambda: peer_softmax(x)
    yield "cross_entropy_with_grad", lambda: loss(x, labels), lambda: peer_loss(x, labels)


if __name__ == "__main__":
    print_table("by hand", [(LOOPS, 4), (LOOPS, 10), (LOOPS, 100), *SHAPES], cases)
