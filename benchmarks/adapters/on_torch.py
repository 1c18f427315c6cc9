"""Time smcore.torch beside PyTorch's own functions: calls, gradients, a step of training.

    OMP_NUM_THREADS=1 python benchmarks/adapters/on_torch.py

Prints a table in Markdown, in microseconds of CPU time: the least of several repetitions, in turn,
on one thread.
"""

from __future__ import annotations

import torch
from timing import SHAPES, print_table, rows_of
from torch.nn import functional

import smcore
from smcore import torch as st


def gradient_of(function, x, *arguments):
    """Return what a call and its backward pass are."""

    def run():
        x.grad = None
        y = function(x, *arguments)
        y.backward(torch.ones_like(y))

    return run


def step_of(loss, features, labels, weights):
    """Return a step of SGD of a linear layer; `loss` is one of layer, features and labels."""
    layer = torch.nn.Linear(*weights.shape)
    with torch.no_grad():
        layer.weight.copy_(weights.T)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def run():
        optimizer.zero_grad()
        loss(layer, features, labels).backward()
        optimizer.step()

    return run


def cases(n, k):
    """Yield for one shape what is timed: a name, smcore's and its peer."""
    x, labels, features, weights = map(torch.from_numpy, rows_of(n, k))
    theirs = {name: getattr(torch, name) for name in ("softmax", "log_softmax", "logsumexp")}
    for name, function in theirs.items():
        yield name, *(lambda f=f: f(x, -1) for f in (getattr(st, name), function))
    yield (
        "cross_entropy",
        *(lambda f=f: f(x, labels) for f in (st.cross_entropy, functional.cross_entropy)),
    )
    leaf = x.clone().requires_grad_()
    for name in ("softmax", "log_softmax", "logsumexp"):
        pair = (getattr(st, name), theirs[name])
        yield f"{name} and backward", *(gradient_of(f, leaf, -1) for f in pair)
    pair = (st.cross_entropy, functional.cross_entropy)
    yield "cross_entropy and backward", *(gradient_of(f, leaf, labels) for f in pair)
    operands = (features, labels, weights)
    theirs = step_of(lambda layer, X, y: functional.cross_entropy(layer(X), y), *operands)
    ours = step_of(lambda layer, X, y: st.cross_entropy(layer(X), y), *operands)
    yield "step of training", ours, theirs
    fused = step_of(
        lambda layer, X, y: st.linear_cross_entropy(X, layer.weight.T, y, layer.bias), *operands
    )
    yield "step, linear_cross_entropy", fused, theirs


if __name__ == "__main__":
    torch.set_num_threads(1)
    with smcore.set_num_threads(1):
        print_table("PyTorch", SHAPES, cases)
