"""``smcore explain``: the softmax layer and its derivatives, one step after another."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import smcore

from . import columns, model, tables
from .errors import CliError
from .matrices import DECIMALS, Floats, judge, print_matrix, read_beside, read_matrix, read_vector
from .model import FILE_NAME
from .tables import Dialect

EXAMPLE_X = (0.1, 0.5, 0.4)
EXAMPLE_W = (
    (0.1, 0.2, 0.3, 0.4, 0.5),
    (0.6, 0.7, 0.8, 0.9, 0.1),
    (0.11, 0.12, 0.13, 0.14, 0.15),
)
LONGEST = 30  # name
MOST_ENTRIES = 10**7  # of dS/dW: more cannot be looked at


@dataclass(frozen=True)
class Layer:
    """What is explained: a row, standardised as the weights expect it, and a layer."""

    row: Floats  # as it was given
    mean: Floats
    scale: Floats
    W: Floats
    b: Floats
    features: Sequence[str]  # their names, or none
    classes: Sequence[str]

    @property
    def x(self) -> Floats:
        """The input of the layer."""
        return (self.row - self.mean) / self.scale

    @property
    def is_standardised(self) -> bool:
        """Tell whether the input is another than the row."""
        return bool(self.mean.any() or (self.scale != 1).any())


def run(arguments: argparse.Namespace, dialect: Dialect) -> None:
    """Carry out the command: read the arrays, then print every step."""
    if arguments.W is not None and Path(arguments.W).is_dir():
        arguments.W = str(Path(arguments.W, FILE_NAME))
    layer = _layer(arguments, dialect)
    h = _explain_forward(layer)
    product = _explain_first_principles(layer.x, h)
    _explain_shortcut(layer.x, h, product)
    _explain_loss(layer)


def _layer(arguments: argparse.Namespace, dialect: Dialect) -> Layer:
    W = np.array(EXAMPLE_W) if arguments.W is None else read_matrix("W", arguments.W)
    n_inputs, n_outputs = W.shape
    if n_inputs * n_outputs**2 > MOST_ENTRIES:
        raise CliError(
            f"argument --W: {n_inputs} x {n_outputs} is too large to be explained: dS/dW would "
            f"hold {n_inputs * n_outputs**2} numbers, more than {MOST_ENTRIES}"
        )
    if arguments.data is not None:
        row = _row_of_table(arguments, dialect)
    elif arguments.x is not None:
        row = read_vector("x", arguments.x)
    elif arguments.W is None:
        row = np.array(EXAMPLE_X)
    else:
        raise CliError(f"argument --x: is wanted with --W: {n_inputs} numbers, one per row of W")
    if len(row) != n_inputs:
        raise CliError(f"argument --x: has length {len(row)}, W has {n_inputs} rows")
    beside = {} if arguments.W is None else read_beside("W", arguments.W)
    place = f"argument --W: {arguments.W}"
    if arguments.b is not None:
        b = read_vector("b", arguments.b)
        if len(b) != n_outputs:
            raise CliError(f"argument --b: has length {len(b)}, W has {n_outputs} columns")
    else:
        b = _numbers_beside(beside, "b", np.zeros(n_outputs), place)
    layer = Layer(
        row=row,
        mean=_numbers_beside(beside, "mean", np.zeros(n_inputs), place),
        scale=_numbers_beside(beside, "scale", np.ones(n_inputs), place),
        W=W,
        b=b,
        features=_names_beside(beside, "features", n_inputs, place),
        classes=_names_beside(beside, "classes", n_outputs, place),
    )
    if not layer.scale.all():
        raise CliError(f"{place}, array 'scale': holds 0")
    return layer


def _row_of_table(arguments: argparse.Namespace, dialect: Dialect) -> Floats:
    """Return the features of one row of a table, as the model given as W makes them."""
    if arguments.W is None or arguments.x is not None:
        raise CliError("argument --data: is wanted with --W, a model of train, in place of --x")
    trained = model.load(Path(arguments.W))
    tables.check_exists(arguments.data)
    source = tables.open_table(arguments.data, dialect)
    table = trained.read(source, lambda _: None)
    if arguments.row > len(table):
        raise CliError(f"argument --row: {arguments.data} has {len(table)} rows")
    row = table.take(np.array([arguments.row - 1]))
    for name, values in row.columns.items():
        if tables.is_missing(values).any():
            place = f"{row.place(0)}, column {name!r}"
            raise CliError(f"{place}: the value is missing: --row takes another row")
    features: Floats = columns.encode(row, trained.columns)[0]
    return features


def _numbers_beside(
    beside: Mapping[str, NDArray[Any]], name: str, default: Floats, place: str
) -> Floats:
    """Return an array that lies beside W, as long as `default`, which stands for none."""
    if name not in beside:
        return default
    array = judge(beside[name], f"{place}, array {name!r}").ravel()
    if array.shape != default.shape:
        raise CliError(
            f"{place}, array {name!r}: has length {array.size}, the layer needs {default.size}"
        )
    return array


def _names_beside(
    beside: Mapping[str, NDArray[Any]], name: str, count: int, place: str
) -> Sequence[str]:
    if name not in beside:
        return []
    names = beside[name]
    if names.shape != (count,):
        raise CliError(
            f"{place}, array {name!r}: has shape {names.shape}, the layer needs ({count},)"
        )
    return [str(value) for value in names.tolist()]


def _explain_forward(layer: Layer) -> Floats:
    """Print the operands, Z and h; return h."""
    x, W, b = layer.x, layer.W, layer.b
    n_inputs, n_outputs = W.shape
    inputs, scores = _names("x", n_inputs), _names("Z", n_outputs)
    print(f"The softmax layer h = softmax(W^T x + b): {n_inputs} inputs, {n_outputs} outputs")
    if layer.features or layer.is_standardised:
        parts = np.stack([layer.row, layer.mean, layer.scale, x], axis=1)
        named = _named("x", layer.features, n_inputs)
        _show("x = (row - mean) / scale", parts, named, ["row", "mean", "scale", "x"])
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
    if layer.classes:
        _show("The same by class", h[:, np.newaxis], _named("S", layer.classes, n_outputs), ["h"])
        best = int(h.argmax())
        print(f"  The most probable class is {layer.classes[best]}, at {h[best]:.1%}.")
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


def _explain_loss(layer: Layer) -> None:
    """Print the gradient that a loss sends to the weights."""
    x, W, b = layer.x, layer.W, layer.b
    target = np.zeros(1, dtype=np.int64)
    first = f" ({layer.classes[0]})" if layer.classes else ""
    loss, (_, dL_dW, _) = smcore.linear_cross_entropy_with_grad(x[np.newaxis], W, target, b)
    _step(
        9,
        f"A loss: the cross-entropy L = -log S[0], where class 0{first} is the right one",
        "dL/dW[j,i] = (S[i] - (1 if i == 0 else 0)) * x[j]",
    )
    print(f"  L = {float(loss):.{DECIMALS}f}")
    n_inputs, n_outputs = W.shape
    inputs, scores = _names("x", n_inputs), _names("Z", n_outputs)
    _show("dL/dW from linear_cross_entropy_with_grad", dL_dW, inputs, scores)


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}[{i}]" for i in range(count)]


def _named(letter: str, names: Sequence[str], count: int) -> list[str]:
    """Name the numbers by what they stand for, too, if that is known."""
    short = [name if len(name) <= LONGEST else name[: LONGEST - 3] + "..." for name in names]
    return [f"{letter}[{i}] {short[i] if short else ''}".rstrip() for i in range(count)]


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
