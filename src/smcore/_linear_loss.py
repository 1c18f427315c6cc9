"""The loss of a layer's logits, block by block of rows, with its gradients."""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

from numpy.typing import ArrayLike

from ._arrays import as_floats
from ._criterion import Criterion, Strip, criterion_of
from ._linear import LayerBlocks, LayerGradients, as_rows, check_layer
from ._quiet import quiet
from ._target import check_order

__all__ = ["evaluate_in_blocks", "judged_loss"]

_MASKED = 4  # arrays as large as these logits that it takes meanwhile


def judged_loss(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None,
    block_bytes: SupportsIndex | None,
    target: ArrayLike,
    where: ArrayLike | None,
    *others: Any,
) -> tuple[LayerBlocks, Criterion]:
    """Judge a layer, and the arguments of a loss of its logits ``X @ W + b``."""
    check_order(X, W, target, b)
    X, W, b = as_floats(("b",), X=X, W=W, b=b)
    check_layer(X, W, b, x_name="X")
    if block_bytes is not None:
        try:
            block_bytes = operator.index(block_bytes)
        except TypeError:
            raise TypeError(
                f"block_bytes must be an integer or None; found {block_bytes!r}"
            ) from None
        if block_bytes < 1:
            raise ValueError(f"block_bytes must be at least 1; found {block_bytes}")
    shape = (*X.shape[:-1], W.shape[1])
    criterion = criterion_of(shape, X.dtype, target, -1, where, *others)
    scratch = 0 if where is None else _MASKED
    counted = None if criterion.counted is None else criterion.counted.reshape(-1)
    return LayerBlocks(as_rows(X), W, b, block_bytes, scratch, counted), criterion


@quiet
def evaluate_in_blocks(
    layer: LayerBlocks,
    criterion: Criterion,
    with_lse: bool,
    gradients: LayerGradients | None = None,
) -> tuple[Any, Any]:
    """Return loss and logsumexp of the logits of a layer, and add up its gradients.

    Rows that do not count have neither, but their logsumexp if that is wanted.
    """
    losses, lse = criterion.new_values(layer.dtype)
    strip = Strip(criterion, layer.dtype, losses, lse)
    for rows, x, z in layer.blocks():
        strip.evaluate(rows, z, gradients is not None)
        if gradients is not None:
            gradients.add(rows, x, z)
    if with_lse and layer.counted is not None:
        for rows, _, z in layer.blocks(left_out=True):
            strip.evaluate(rows, z, False)
    return criterion.results(losses, lse, criterion.room(losses, lse, layer.X.dtype))
