"""Time smcore.jax beside JAX's own functions: calls, gradients, a step of training.

    OMP_NUM_THREADS=1 taskset --cpu-list 0 python benchmarks/adapters/on_jax.py

Prints a table in Markdown, in microseconds of CPU time: the least of several repetitions, in turn.
All is compiled by jax.jit. On one processor XLA's pool has one thread.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from timing import SHAPES, print_table, rows_of

import smcore
from smcore import jax as sj


def peer_cross_entropy(x, labels):
    """Return the mean loss, as users of JAX write it."""
    logs = jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=1)
    return -logs.mean()


def cases(n, k):
    """Yield for one shape what is timed: a name, smcore's and its peer."""
    arrays = map(jax.device_put, rows_of(n, k))
    x, labels, features, W = arrays
    g = jax.random.normal(jax.random.key(1), x.shape)
    named = {
        "softmax": (sj.softmax, jax.nn.softmax),
        "log_softmax": (sj.log_softmax, jax.nn.log_softmax),
        "logsumexp": (sj.logsumexp, functools.partial(jax.nn.logsumexp, axis=-1)),
    }

    def timed(function, *operands):
        compiled = jax.jit(function)
        return lambda: compiled(*operands).block_until_ready()

    for name, pair in named.items():
        yield name, *(timed(f, x) for f in pair)
    pair = (jax.grad(lambda x, f=f: jnp.sum(g * f(x))) for f in named["softmax"])
    yield "gradient of softmax", *(timed(f, x) for f in pair)
    pair = (jax.grad(f) for f in (sj.cross_entropy, peer_cross_entropy))
    yield "gradient of cross_entropy", *(timed(f, x, labels) for f in pair)

    def step_by(loss):
        gradient = jax.grad(lambda W, features, labels: loss(features @ W, labels))
        return lambda *operands: operands[0] - 0.1 * gradient(*operands)

    pair = (step_by(f) for f in (sj.cross_entropy, peer_cross_entropy))
    yield "step of training", *(timed(f, W, features, labels) for f in pair)


if __name__ == "__main__":
    print("by the FFI" if sj.uses_ffi() else "by way of Python")
    with smcore.set_num_threads(1):
        print_table("JAX", SHAPES, cases)
