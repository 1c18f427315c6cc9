"""``python -m smcore explain``: the softmax layer and its derivatives, one step after another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import smcore

from .errors import CliError
from .matrices import DECIMALS, Floats, holds, print_matrix, read_matrix, read_vector

EXAMPLE_X = (0.1, 0.5, 0.4)
EXAMPLE_W = (
    (0.1, 0.2, 0.3, 0.4, 0.5),
    (0.6, 0.7, 0.8, 0.9, 0.1),
    (0.11, 0.12, 0.13, 0.14, 0.15),
)
MOST_ENTRIES = 10**7  # of dS/dW: more cannot be looked at


def run(arguments: argparse.Namespace) -> None:
    """Carry out the command: read the arrays, then print every step."""
    x, W, b = _operands(arguments)
    h = _explain_forward(x, W, b)
    product = _explain_first_principles(x, h)
    _explain_shortcut(x, h, product)
    _explain_loss(x, W, b)


def _operands(arguments: argparse.Namespace) -> tuple[Floats, Floats, Floats]:
    W = np.array(EXAMPLE_W) if arguments.W is None else read_matrix("W", arguments.W)
    x = np.array(EXAMPLE_X) if arguments.x is None else read_vector("x", arguments.x)
    n_inputs, n_outputs = W.shape
    if arguments.b is not None:
        b = read_vector("b", arguments.b)
    elif arguments.W is not None and holds(arguments.W, "b"):
        b = read_vector("b", arguments.W)
    else:
        b = np.zeros(n_outputs)
    if len(x) != n_inputs:
        raise CliError(f"argument --x: has length {len(x)}, W has {n_inputs} rows")
    if len(b) != n_outputs:
        raise CliError(f"argument --b: has length {len(b)}, W has {n_outputs} columns")
    if n_inputs * n_outputs**2 > MOST_ENTRIES:
        raise CliError(
            f"argument --W: {n_inputs} x {n_outputs} is too large to be explained: dS/dW would "
            f"hold {n_inputs * n_outputs**2} numbers, more than {MOST_ENTRIES}"
        )
    return x, W, b


def _explain_forward(x: Floats, W: Floats, b: Floats) -> Floats:
    """Print the operands, Z and h; return h."""
    n_inputs, n_outputs = W.shape
    inputs, scores = _names("x", n_inputs), _names("Z", n_outputs)
    print(f"The softmax layer h = softmax(W^T x + b): {n_inputs} inputs, {n_outputs} outputs")
    _show("x, the input", x, [""], inputs)
    _show("W, the weights", W, inputs, scores)
    if b.any():
        _show("b, the bias", b, [""], scores)

    _step(1, "Z, the scores: the linear part", "Z[i] = (sum over j of W[j,i] * x[j]) + b[i]")
    _show("Z = W^T x + b", x @ W + b, [""], scores)

    h = smcore.softmax_layer(x, W, b)
    _step(
        2,
        "h, the outputs: the scores made positive, then divided by their sum",
        "h[t] = S[t] = exp(Z[t]) / (sum over i of exp(Z[i]))",
    )
    _show("h = softmax_layer(x, W, b)", h, [""], _names("S", n_outputs))
    print(f"  They sum to {h.sum():.12g}.")
    return h


def _explain_first_principles(x: Floats, h: Floats) -> Floats:
    """Print dS/dZ, dZ/dW and their product; return the product."""
    n_inputs, n_outputs = len(x), len(h)
    outputs, scores = _names("S", n_outputs), _names("Z", n_outputs)
    weights = _weight_names(n_inputs, n_outputs)

    dS_dZ = smcore.softmax_jacobian(h)
    _step(
        3,
        "dS/dZ: how the outputs answer to the scores",
        "dS[t]/dZ[i] = S[t] * ((1 if i == t else 0) - S[i])",
    )
    _show("dS/dZ = softmax_jacobian(h)", dS_dZ, outputs, scores)

    dZ_dW = smcore.linear_weight_jacobian(x, n_outputs)
    _step(
        4,
        "dZ/dW: how the scores answer to the weights, column after column of W",
        "dZ[k]/dW[j,i] = x[j] if i == k else 0",
    )
    _show("dZ/dW = linear_weight_jacobian(x, K)", dZ_dW, scores, weights, n_inputs)

    product = dS_dZ @ dZ_dW
    _step(
        5,
        "Their product: how the outputs answer to the weights, by the chain rule",
        "dS/dW = dS/dZ @ dZ/dW",
    )
    _show("dS/dZ @ dZ/dW", product, outputs, weights, n_inputs)
    return product


def _explain_shortcut(x: Floats, h: Floats, product: Floats) -> None:
    """Print dS/dW without the product, what differs, and the sums over the outputs."""
    n_inputs, n_outputs = len(x), len(h)
    shortcut = smcore.softmax_layer_jacobian(h, x)
    _step(
        6,
        "The shortcut: most of dZ/dW is zero, so the product is known without multiplying",
        "dS[t]/dW[j,i] = S[t] * ((1 if i == t else 0) - S[i]) * x[j]",
    )
    weights = _weight_names(n_inputs, n_outputs)
    _show("softmax_layer_jacobian(h, x)", shortcut, _names("S", n_outputs), weights, n_inputs)

    _step(7, "Their difference: at most rounding", "product - shortcut")
    print(f"  Largest absolute difference: {np.abs(product - shortcut).max():.3g}")

    _step(
        8,
        "The sum of every column of dS/dW: zero",
        "sum over t of dS[t]/dW[j,i] = d(sum over t of S[t])/dW[j,i] = d(1)/dW[j,i] = 0",
    )
    print(f"  Largest absolute column sum: {np.abs(shortcut.sum(axis=0)).max():.3g}")
    print("  The outputs sum to one whatever W is, so an upstream gradient that treats them all")
    print("  alike moves no weight. It takes a loss, which tells the outputs apart.")


def _explain_loss(x: Floats, W: Floats, b: Floats) -> None:
    """Print the gradient that a loss sends to the weights."""
    target = np.zeros(1, dtype=np.int64)
    loss, (_, dL_dW, _) = smcore.linear_cross_entropy_with_grad(x[np.newaxis], W, target, b)
    _step(
        9,
        "A loss: the cross-entropy L = -log S[0], where class 0 is the right one",
        "dL/dW[j,i] = (S[i] - (1 if i == 0 else 0)) * x[j]",
    )
    print(f"  L = {float(loss):.{DECIMALS}f}")
    n_inputs, n_outputs = W.shape
    inputs, scores = _names("x", n_inputs), _names("Z", n_outputs)
    _show("dL/dW from linear_cross_entropy_with_grad", dL_dW, inputs, scores)


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}[{i}]" for i in range(count)]


def _weight_names(n_inputs: int, n_outputs: int) -> list[str]:
    """Name the weights in the order of the columns of dZ/dW: column after column of W."""
    return [f"W[{j},{i}]" for i in range(n_outputs) for j in range(n_inputs)]


def _step(number: int, title: str, formula: str) -> None:
    print(f"\n{number}. {title}\n     {formula}")


def _show(
    title: str, array: Floats, rows: Sequence[str], columns: Sequence[str], group: int = 1
) -> None:
    print(f"\n  {title}, shape {array.shape}")
    print_matrix(np.atleast_2d(array), rows, columns, group)
