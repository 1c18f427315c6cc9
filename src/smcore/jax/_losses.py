"""Cross-entropy, of logits and of a layer's input."""

from __future__ import annotations

import functools
import operator
from typing import Any, SupportsIndex, cast

import jax
import jax.numpy as jnp
import numpy as np

from .._arrays import Axis, Real, as_real
from .._criterion import Reduction
from .._rows import Rows
from ._kernels import as_inexact, computed_in, static
from ._loss_of_rows import How, loss_of_rows
from ._softmax import as_where

__all__ = ["cross_entropy", "linear_cross_entropy"]


def cross_entropy(
    x: Any,
    target: Any,
    *,
    axis: Axis = -1,
    where: Any = None,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
) -> jax.Array:
    """Compute the cross-entropy between the softmax of logits and a target.

    Where it is differentiated, one pass computes the loss and its gradient by the logits.

    Parameters
    ----------
    x : array_like
        The logits, K classes along `axis`: float16, bfloat16, float32 or float64; or integers or
        booleans, which become JAX's default float.
    target : array_like
        Either labels 0 to K-1, integers of any width, in the shape of `x` without `axis`; or
        probabilities, floats in the shape of `x`, by which there is a derivative, too.
    axis : int, tuple of ints or None, default -1
        The axis of the classes. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to `x`.
    weight : array_like, shape (K,), optional
        A factor for each class; finite. There is no derivative by it.
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `x` without `axis`, or
        broadcastable to it. A row of weight 0 does not count. The mean divides by the summed
        weights of the rows counted. There is no derivative by it, either.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes. A plain number:
        it cannot be traced.
    z_loss : float, default 0.0
        A factor, at least 0: each row that counts has ``z_loss * lse**2`` added to its loss. Plain,
        too.

    Returns
    -------
    jax.Array
        The loss, in the dtype of `x`: one number, or with ``reduction="none"`` one for each row.
        The mean over no row at all is NaN.

    Raises
    ------
    TypeError
        If `x`, `weight` or `sample_weight` is not real, `where` not boolean, `target` neither
        integers nor floats, `ignore_index` no integer, or an option not a plain number.
    ValueError
        If an argument has the wrong shape, `reduction` is unknown, `label_smoothing` outside
        [0, 1], `z_loss` negative or not finite, `ignore_index` beyond 64 bits, or there are no
        classes.
    numpy.exceptions.AxisError
        If `x` has no such axis.
    ValueError, jax.errors.JaxRuntimeError
        When it runs, one of them, if a label is neither 0 to K-1 nor `ignore_index`, or a number of
        `sample_weight` negative or not finite.
    NotImplementedError
        If it is differentiated by `weight` or `sample_weight`, or compiled for another platform
        than the CPU.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from smcore.jax import cross_entropy
    >>> x, labels = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), jnp.array([2, 0])
    >>> loss, dx = jax.value_and_grad(cross_entropy)(x, labels)
    >>> f"{loss:.4f}"
    '0.7531'
    >>> np.asarray(dx).round(4)
    array([[ 0.045 ,  0.1224, -0.1674],
           [-0.3333,  0.1667,  0.1667]], dtype=float32)
    """
    smoothing, z_factor = as_real(label_smoothing, "label_smoothing"), as_real(z_loss, "z_loss")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1]; found {label_smoothing!r}")
    if z_factor < 0:
        raise ValueError(f"z_loss must be at least 0; found {z_loss!r}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; found {reduction!r}")
    ignored = _as_index(ignore_index)
    how = How(False, reduction == "none", ignored, smoothing, z_factor)
    return _cross_entropy_of(
        x, target, where, weight, sample_weight, axis=static(axis), reduction=reduction, how=how
    )


def linear_cross_entropy(X: Any, W: Any, target: Any, b: Any = None, **options: Any) -> jax.Array:
    """Compute the cross-entropy of a softmax layer, from its input: of the logits ``X @ W + b``.

    The product is XLA's, in full precision, and the logits are held whole, in float32 or float64.

    Parameters
    ----------
    X : array_like, shape (..., D)
        The inputs.
    W : array_like, shape (D, K)
        The weights.
    target : array_like
        Either labels 0 to K-1, integers of any width, of shape (...); or probabilities, floats of
        shape (..., K).
    b : array_like, shape (K,), optional
        The bias.
    **options
        What `cross_entropy` takes besides, but `axis`.

    Returns
    -------
    jax.Array
        The loss, in the dtype that `X`, `W` and `b` promote to: one number, or with
        ``reduction="none"`` one for each row.

    Raises
    ------
    TypeError, ValueError, jax.errors.JaxRuntimeError, NotImplementedError
        As `cross_entropy` says; also if `X`, `W` and `b` do not fit together.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from smcore.jax import linear_cross_entropy
    >>> X, W = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 1.0], [0.0, 1.0]])
    >>> np.asarray(jax.grad(linear_cross_entropy, argnums=1)(X, W, jnp.array([1]))).round(4)
    array([[ 0.0474, -0.0474],
           [ 0.0949, -0.0949]], dtype=float32)
    """
    if "axis" in options:
        raise TypeError("linear_cross_entropy() takes no axis: the classes are those of W")
    operands = {"X": X, "W": W} | ({} if b is None else {"b": b})
    arrays = {name: as_inexact(value, name) for name, value in operands.items()}
    dtype = jnp.result_type(*arrays.values())
    X, W, *bias = (array.astype(dtype) for array in arrays.values())
    if W.ndim != 2 or X.ndim == 0 or X.shape[-1] != W.shape[0]:
        raise ValueError(
            f"X and W must have shapes (..., D) and (D, K); found {jnp.shape(X)} and {jnp.shape(W)}"
        )
    if bias and bias[0].shape != W.shape[1:]:
        raise ValueError(f"b must have shape {W.shape[1:]}; found {bias[0].shape}")
    z = jnp.matmul(X, W, precision="highest", preferred_element_type=computed_in(dtype))
    z = z + bias[0].astype(z.dtype) if bias else z
    return cross_entropy(z, target, **options).astype(dtype)


@functools.partial(jax.jit, static_argnames=("axis", "reduction", "how"))
def _cross_entropy_of(
    x: Any,
    target: Any,
    where: Any,
    weight: Any,
    sample_weight: Any,
    *,
    axis: Axis,
    reduction: str,
    how: How,
) -> jax.Array:
    x = as_inexact(x, "x")
    rows = Rows(x.shape, axis)
    if rows.length == 0:
        raise ValueError(f"there must be at least one class; found logits of shape {x.shape}")
    dtype, flat = computed_in(x.dtype), (-1, rows.length)
    target = _as_target(target, rows, x.shape)
    if target.ndim == 1:
        target, ignored = _as_labels(target, how.ignore_index)
        how = how._replace(ignore_index=ignored)
    operands = {"x": rows.view(x).reshape(flat), "target": target}
    if weight is not None:
        operands["weight"] = _as_weight(weight, rows.length, dtype)
    if sample_weight is not None:
        operands["sample_weight"] = _as_sample_weight(sample_weight, rows, dtype)
    mask = as_where(where, rows, x.shape)
    if mask is not None:
        operands["where"] = mask.reshape(flat)
    factor = jnp.ones((), dtype)
    if reduction == "mean":
        _bring_into_range(operands, how)
        factor = _factor(operands, how, dtype)
    if x.size == 0:
        return (jnp.zeros(rows.lead if how.by_row else ()) * factor).astype(x.dtype)
    names = (*operands, "factor")
    (loss,) = loss_of_rows.bind(*operands.values(), factor, names=names, how=how)
    return loss.reshape(rows.lead if how.by_row else ()).astype(x.dtype)


def _as_target(target: Any, rows: Rows, shape: tuple[int, ...]) -> Any:
    """Return labels ``(N,)`` or probabilities ``(N, K)``."""
    target = jnp.asarray(target)
    if jnp.issubdtype(target.dtype, jnp.integer):
        if target.shape != rows.lead:
            raise ValueError(
                f"target (of integers, one for each row) must have shape {rows.lead}; "
                f"found {target.shape}"
            )
        return target.reshape(-1)
    if not jnp.issubdtype(target.dtype, jnp.floating):
        raise TypeError(
            f"target must hold integer labels, or probabilities as floats; found {target.dtype}"
        )
    if target.shape != shape:
        raise ValueError(
            f"target (of floats, one for each logit) must have shape {shape}; found {target.shape}"
        )
    return rows.view(cast(Any, target)).reshape(-1, rows.length)


def _as_labels(labels: Any, ignore_index: int) -> tuple[jax.Array, int]:
    """Return labels as int32 or int64, and what stands there for those to be ignored.

    No other label becomes that one, or a class: one that is out of range becomes the greatest.
    """
    is_wide = jax.config.jax_enable_x64 and labels.dtype in (jnp.int64, jnp.uint32, jnp.uint64)
    own, found = jnp.iinfo(labels.dtype), jnp.iinfo(jnp.int64 if is_wide else jnp.int32)
    index = ignore_index if found.min <= ignore_index < found.max else int(found.min)
    greatest = np.asarray(min(own.max, found.max), labels.dtype)
    known = jnp.minimum(labels, greatest).astype(found.dtype)
    known = jnp.where(known == index, found.max, known)
    if own.min <= ignore_index <= own.max:
        known = jnp.where(labels == np.asarray(ignore_index, labels.dtype), index, known)
    return known, index


def _as_weight(weight: Any, count: int, dtype: Any) -> jax.Array:
    weight = as_inexact(weight, "weight").astype(dtype)
    if weight.shape != (count,):
        raise ValueError(f"weight must have shape ({count},); found {weight.shape}")
    return weight


def _as_sample_weight(sample_weight: Any, rows: Rows, dtype: Any) -> jax.Array:
    weights = as_inexact(sample_weight, "sample_weight").astype(dtype)
    shape = rows.lead if weights.ndim <= len(rows.lead) else rows.kept
    try:
        return jnp.broadcast_to(weights, shape).reshape(-1)
    except ValueError:
        raise ValueError(
            f"sample_weight must have shape {rows.lead} (or {rows.kept}), or broadcast to it; "
            f"found {weights.shape}"
        ) from None


def _as_index(ignore_index: Any) -> int:
    try:
        return int(np.int64(operator.index(ignore_index)))
    except TypeError:
        raise TypeError(f"ignore_index must be an integer; found {ignore_index!r}") from None
    except OverflowError:
        raise ValueError(f"ignore_index must fit in 64 bits; found {ignore_index!r}") from None


def _bring_into_range(operands: dict[str, Any], how: How) -> None:
    """Divide weights by a power of two: a mean depends on their ratios, and float32 sums them."""
    divides_by_classes = operands["target"].ndim == 1 and not how.z_loss  # z has no class weight
    for name in ("sample_weight", "weight") if divides_by_classes else ("sample_weight",):
        weights = operands.get(name)
        if weights is None:
            continue
        exponent = jnp.frexp(jnp.abs(jax.lax.stop_gradient(weights)).max(initial=0))[1]
        operands[name] = jnp.ldexp(weights, jnp.where(jnp.abs(exponent) > 30, -exponent, 0))


def _factor(operands: dict[str, Any], how: How, dtype: Any) -> jax.Array:
    """Return what makes of the sum of losses their mean."""
    labels, weight = operands["target"], operands.get("weight")
    by_row = operands.get("sample_weight")
    if labels.ndim == 2:
        total = jnp.asarray(len(labels), dtype) if by_row is None else by_row.sum()
        return 1 / total
    counted = labels != how.ignore_index
    if weight is None and by_row is None:
        return 1 / counted.sum().astype(dtype)
    shares = 1 if weight is None else weight[jnp.where(counted, labels, 0)]
    shares = shares if by_row is None else shares * by_row
    return 1 / jnp.where(counted, shares, 0).sum()
