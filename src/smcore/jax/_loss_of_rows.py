"""The cross-entropy of rows as a primitive, and its derivatives.

Operands: x (..., N, K), target (..., N) or (..., N, K), weight (..., K), sample_weight (..., N),
where (..., N, K), factor (...), those that `names` lists.  Results: the losses times the factor,
(..., N) or their sum, (...); and the gradient of the sum by x, like x.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

import smcore

from ._kernels import call_native, computed_in, define
from ._logsumexp import logsumexp
from ._softmax import log_softmax, product, softmax, sum_of_products

__all__ = ["How", "loss_of_rows"]


class How(NamedTuple):
    """What is asked of a loss."""

    gradient: bool  # to be returned, too
    by_row: bool  # or one loss for all rows of a batch's element
    ignore_index: int
    smoothing: float
    z_loss: float


def _results(x: Any, *others: Any, names: tuple[str, ...], how: How) -> list[tuple[Any, Any]]:
    losses = (x.shape[: -1 if how.by_row else -2], computed_in(x.dtype))
    return [losses, (x.shape, x.dtype)] if how.gradient else [losses]


def _on_host(*arrays: Any, names: tuple[str, ...], how: How) -> list[Any]:
    x = arrays[0]
    results = [np.empty(*result) for result in _results(*arrays, names=names, how=how)]
    for index in np.ndindex(x.shape[:-2]):
        operands = dict(zip(names, (array[index] for array in arrays), strict=True))
        for result, values in zip(results, _of_one(operands, how), strict=True):
            result[index] = values
    return results


def _of_one(operands: dict[str, Any], how: How) -> list[Any]:
    """Return the results for one element of a batch."""
    factor, x, target = operands.pop("factor"), operands.pop("x"), operands["target"]
    x = x.astype(computed_in(x.dtype), copy=False)
    options = dict(
        operands,
        reduction="none" if how.by_row else "sum",
        ignore_index=how.ignore_index,
        label_smoothing=how.smoothing,
        z_loss=how.z_loss,
    )
    if not how.gradient:
        return [factor * smcore.cross_entropy(x, **options)]
    loss, dx = smcore.cross_entropy_with_grad(x, **options)
    if factor != 1:
        dx *= factor
        if target.ndim == 1:
            dx[target == how.ignore_index] = 0  # where the factor is infinite, too
        if "sample_weight" in operands:
            dx[operands["sample_weight"] == 0] = 0
    return [factor * loss, dx]


def _native(expected: Any, *arrays: Any, names: tuple[str, ...], how: How) -> Any:
    operands = dict(zip(names, arrays, strict=True))
    if "where" in operands:  # smoothing spreads over the classes left: Python knows how
        return None
    x, target = operands["x"], operands["target"]
    if not jnp.issubdtype(target.dtype, jnp.integer):
        target = target.astype(x.dtype)
    weights = [operands[name] for name in ("weight", "sample_weight") if name in operands]
    return call_native(
        "cross_entropy",
        expected,
        x,
        target,
        operands["factor"],
        *weights,
        weight=np.int64("weight" in operands),
        sample_weight=np.int64("sample_weight" in operands),
        ignore_index=np.int64(how.ignore_index),
        smoothing=np.float64(how.smoothing),
        z_loss=np.float64(how.z_loss),
    )


loss_of_rows = define("cross_entropy", _results, _on_host, _native)


def _loss_jvp(primals: Any, tangents: Any, *, names: tuple[str, ...], how: How) -> Any:
    operands = dict(zip(names, primals, strict=True))
    moves = {name: v for name, v in zip(names, tangents, strict=True) if type(v) is not ad.Zero}
    for name in {"weight", "sample_weight"} & moves.keys():
        raise NotImplementedError(
            f"smcore.jax.cross_entropy has no derivative by {name}; "
            f"pass jax.lax.stop_gradient({name})"
        )
    with_gradient = how._replace(gradient=True)
    loss, dx = loss_of_rows.bind(*primals, names=names, how=with_gradient)
    moved = [_moved_loss(operands, moves, dx, how)]
    if not how.gradient:
        return [loss], moved
    return [loss, dx], [*moved, _moved_gradient(operands, moves, how)]


def _moved_loss(operands: dict[str, Any], moves: dict[str, Any], dx: Any, how: How) -> Any:
    """Return the tangent of the loss, by logits and probabilities."""
    moved: Any = 0
    if "x" in moves:
        moved = sum_of_products(dx, moves["x"])[..., 0]
    if "target" in moves:
        logs = log_softmax(operands["x"], where=operands.get("where"))
        a = _moved_shares(operands, moves["target"], how)
        logs = jnp.maximum(logs, jnp.finfo(logs.dtype).min)  # where -inf meets a move of 0
        factor = _factor_by_row(operands)
        logs = jnp.where((factor != 0)[..., np.newaxis], logs, 0)  # of what is not looked at
        moved -= sum_of_products(logs, a)[..., 0] * factor
    return moved if how.by_row else moved.sum(axis=-1)


def _factor_by_row(operands: dict[str, Any]) -> Any:
    """Return what the loss of each row is multiplied by; 0 for a row of weight 0."""
    factor = operands["factor"][..., np.newaxis]
    if "sample_weight" not in operands:
        return factor
    weights = operands["sample_weight"]
    return jnp.where(weights > 0, factor * weights, 0)


def _moved_shares(operands: dict[str, Any], target: Any, how: How) -> Any:
    """Return how the shares of the classes move with probabilities, before smoothing adds to it."""
    a = (1 - how.smoothing) * target.astype(computed_in(operands["x"].dtype))
    if "weight" in operands:
        a = a * operands["weight"][..., np.newaxis, :]
    return jnp.where(operands["where"], a, 0) if "where" in operands else a


def _moved_gradient(operands: dict[str, Any], moves: dict[str, Any], how: How) -> Any:
    """Return the tangent of the gradient ``factor * (A s - a + 2 z lse s)``, by the same."""
    x, where = operands["x"], operands.get("where")
    factor = _factor_by_row(operands)[..., np.newaxis]
    s = softmax(x, where=where)
    moved: Any = jnp.zeros_like(s)
    counted: Any = True
    if "x" in moves:
        v = moves["x"] if where is None else jnp.where(where, moves["x"], 0)
        total, counted = _sum_of_shares(operands, how)
        if how.z_loss:
            lse = logsumexp(x, where=where, keepdims=True)
            slope = 2 * how.z_loss * jnp.where(counted, lse, 0)
            moved = 2 * how.z_loss * counted * s * sum_of_products(s, v)
            total = total + slope
        moved = moved + total * product(s, v)
    if "target" in moves:
        a = _moved_shares(operands, moves["target"], how)
        moved = moved + a.sum(axis=-1, keepdims=True) * s - a
    # Rows that do not count may hold anything, and the factor is infinite where none does.
    counted = counted & (factor != 0)
    return jnp.where(counted, factor * moved, 0).astype(x.dtype)


def _sum_of_shares(operands: dict[str, Any], how: How) -> tuple[Any, Any]:
    """Return A of each row, the sum of the shares of its classes, and whether it counts."""
    x, target = operands["x"], operands["target"]
    dtype = computed_in(x.dtype)
    weight = operands.get("weight", jnp.ones(x.shape[-1:], dtype))[..., np.newaxis, :]
    where = operands.get("where", True)
    left = jnp.where(where, weight, 0)
    count = jnp.where(where, jnp.ones_like(weight), 0).sum(axis=-1, keepdims=True)
    even = how.smoothing * left.sum(axis=-1, keepdims=True) / jnp.maximum(count, 1)
    if target.ndim == x.ndim:
        shares = jnp.where(where, weight * target.astype(dtype), 0)
        return (1 - how.smoothing) * shares.sum(axis=-1, keepdims=True) + even, True
    counted = (target != how.ignore_index)[..., np.newaxis]
    labels = jnp.where(counted, target[..., np.newaxis], 0)
    of_label = jnp.take_along_axis(jnp.broadcast_to(weight, x.shape), labels, axis=-1)
    return jnp.where(counted, (1 - how.smoothing) * of_label + even, 0), counted


ad.primitive_jvps[loss_of_rows] = _loss_jvp
