"""Time smcore.autograd beside autograd's own functions: calls, gradients, a step of training.

    OMP_NUM_THREADS=1 python benchmarks/adapters/on_autograd.py

Prints a table in Markdown, in microseconds of CPU time: the least of several repetitions, in turn,
on one thread.
"""

from __future__ import annotations

import autograd.numpy as anp
import numpy as np
from autograd import grad
from autograd.scipy.special import logsumexp as peer_logsumexp
from timing import SHAPES, print_table, rows_of

import smcore
from smcore import autograd as sa


def peer_softmax(x):
    """Return what users of autograd write themselves."""
    e = anp.exp(x - anp.max(x, axis=-1, keepdims=True))
    return e / anp.sum(e, axis=-1, keepdims=True)


def peer_log_softmax(x):
    """Return the same of its logarithm."""
    return x - peer_logsumexp(x, axis=-1, keepdims=True)


def peer_cross_entropy(x, labels):
    """Return the mean loss."""
    return -anp.mean(peer_log_softmax(x)[np.arange(len(x)), labels])


def cases(n, k):
    """Yield for one shape what is timed: a name, smcore's and its peer."""
    x, labels, features, W = rows_of(n, k)
    g = np.random.default_rng(1).normal(size=x.shape).astype(x.dtype)
    named = {
        "softmax": (sa.softmax, peer_softmax),
        "log_softmax": (sa.log_softmax, peer_log_softmax),
        "logsumexp": (sa.logsumexp, lambda x: peer_logsumexp(x, axis=-1)),
    }
    for name, pair in named.items():
        yield name, *(lambda f=f: f(x) for f in pair)
    pair = (grad(lambda x, f=f: anp.sum(g * f(x))) for f in named["softmax"])
    yield "gradient of softmax", *(lambda f=f: f(x) for f in pair)
    pair = map(grad, (sa.cross_entropy, peer_cross_entropy))
    yield "gradient of cross_entropy", *(lambda f=f: f(x, labels) for f in pair)

    def peer_layer(W):
        return peer_cross_entropy(anp.dot(features, W), labels)

    def step_by(gradient):
        return lambda: W - np.float32(0.1) * gradient(W)

    ours = grad(lambda W: sa.linear_cross_entropy(features, W, labels))
    yield "step of training", step_by(ours), step_by(grad(peer_layer))


if __name__ == "__main__":
    with smcore.set_num_threads(1):
        print_table("autograd", SHAPES, cases)
