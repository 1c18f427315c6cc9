"""Products with the Hessian of a softmax layer's cross-entropy, for Newton's method."""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, DType, Mask, Real, as_floats, cast, check_shape, sum_dtype, widened
from ._backend import kernels
from ._calls import public
from ._criterion import Criterion, Reduction
from ._curvature import Factors, factors_of, hessian_of
from ._linear import as_rows, check_layer, linear, row_blocks, rows_at_once
from ._products import softmax_vjp
from ._quiet import quiet
from ._softmax import softmax
from ._target import check_order

__all__ = ["linear_cross_entropy_hvp"]

_BLOCK = 1 << 22  # logits held at once
_LEAST_ROWS = 128  # of a block all the same, so that the matrix products are worth their while


@public
def linear_cross_entropy_hvp(
    X: ArrayLike,
    W: ArrayLike,
    V: ArrayLike,
    target: ArrayLike | None = None,
    b: ArrayLike | None = None,
    Vb: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    s: ArrayLike | None = None,
) -> tuple[Array, Array | None]:
    r"""Multiply a direction of the weights and bias by the Hessian of a softmax layer's loss.

    With the arguments that `linear_cross_entropy_with_grad` was given, this is how its gradients by
    `W` and `b` move with `W` and `b`: what Newton's method asks for.

    Parameters
    ----------
    X : array_like, shape (D,) or (..., D)
        One input, or some along any leading axes.
    W : array_like, shape (D, K)
        The weights.
    V : array_like, shape (D, K) or (..., D, K)
        The direction in which the weights move, or a stack of directions.
    target : array_like, optional
        Either labels 0 to K-1, integers of any width, of the shape of `X` without its last axis; or
        probabilities, floats of the shape of the logits, (K,) or (..., K). Without one, every row
        counts as one label does without class weights.
    b : array_like, shape (K,), optional
        The bias.
    Vb : array_like, shape (K,) or (..., K), optional
        The direction in which the bias moves, one for each in `V`. None: it does not. Needs `b`.
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to the logits, (..., K). The other
        logits are never looked at.
    weight : array_like, shape (K,), optional
        A factor for each class; needs a `target`. The mean divides by the summed weights of the
        labels counted.
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `X` without its last
        axis, or broadcastable to it. A row of weight 0 does not count, as one that is ignored. The
        mean divides by the summed weights of the rows counted, each times that of its label, if
        any.
    ignore_index : int, default -100
        Rows with this label do not count. Without meaning for probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the Hessian is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    s : array_like, shape (K,) or (..., K), optional
        What `softmax_layer` returned for `X`, `W` and `b`, in whose place it is taken: many
        directions at the same weights, as conjugate gradients ask for, need it once. By default it
        is computed here.

    Returns
    -------
    HW : ndarray, shape (D, K) or (..., D, K)
        How the gradient by `W` moves, in the dtype that `X`, `W`, `V`, `b`, `Vb` and `s` promote
        to.
    Hb : ndarray, shape (K,) or (..., K), or None
        How the gradient by `b` moves; None where `b` is.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `target` neither integers nor floats.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite or given without a target, `sample_weight` negative or not finite,
        `Vb` given without `b`, `reduction` unknown, `label_smoothing` outside [0, 1], or there are
        no classes.

    See Also
    --------
    linear_cross_entropy_with_grad : The loss and its gradients.
    cross_entropy_hvp : The same in the logits; the Hessian is described there.

    Notes
    -----
    The logits are linear in `W` and `b`, so this exact Hessian is the Gauss-Newton matrix, and the
    Fisher matrix as `cross_entropy_hvp` describes it:

    .. math:: HW = X^T \delta, \quad Hb = \textstyle\sum_n \delta_n, \qquad
              \delta_n = \frac{A_n}{d} \bigl(\operatorname{diag}(s_n) - s_n s_n^T\bigr)
              (X V + V_b)_n.

    The rows are taken in blocks of some four million logits, or of 128 rows: the logits are held
    for one block only, and their product for each direction. Rows that do not count are left out,
    whatever `X` holds there.

    The Hessian is positive semidefinite. It is singular: moving all classes alike changes nothing.

    Examples
    --------
    >>> from smcore import linear_cross_entropy_hvp
    >>> X, W = [[1.0, 2.0], [3.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]
    >>> HW, Hb = linear_cross_entropy_hvp(X, W, [[1.0, 0.0], [0.0, 0.0]], b=[0.0, 0.0])
    >>> HW.round(4)
    array([[ 0.2259, -0.2259],
           [ 0.0452, -0.0452]])
    >>> Hb.round(4)
    array([ 0.0904, -0.0904])

    With the softmax at hand, nothing of it is computed again:

    >>> from smcore import softmax_layer
    >>> s = softmax_layer(X, W)
    >>> HW, _ = linear_cross_entropy_hvp(X, W, [[1.0, 0.0], [0.0, 0.0]], s=s)
    """
    check_order(X, W, target, b)
    X, W, V, b, Vb, s = as_floats(("b", "Vb", "s"), X=X, W=W, V=V, b=b, Vb=Vb, s=s)
    check_layer(X, W, b, x_name="X")
    _check_direction(V, Vb, W, b)
    dtype, shape = X.dtype, (*X.shape[:-1], W.shape[1])
    if s is not None:
        check_shape(s, shape, "s")
        s = as_rows(s)
    X, W, V, b, Vb, s = widened(as_rows(X), W, V, b, Vb, s)
    criterion = hessian_of(
        shape,
        X.dtype,
        target,
        -1,
        where,
        weight,
        sample_weight,
        ignore_index,
        reduction,
        label_smoothing,
    )
    HW, Hb = _sums_over_rows(X, W, b, V, Vb, s, criterion, sum_dtype(dtype))
    return cast(HW, dtype), None if b is None else cast(Hb, dtype)


@quiet
def _sums_over_rows(
    X: Array,
    W: Array,
    b: Array | None,
    V: Array,
    Vb: Array | None,
    s: Array | None,
    criterion: Criterion,
    dtype: DType,
) -> tuple[Array, Array]:
    """Return the products by weights and bias, summed in `dtype` over the rows that count."""
    mask = None if criterion.mask is None else criterion.mask.reshape(-1, W.shape[1])
    index = None if criterion.counted is None else np.flatnonzero(criterion.counted)
    factors = factors_of(criterion).reshape(-1, 1)[... if index is None else index]
    shared = factors[0, 0] if len(factors) and (factors == factors[0]).all() else None
    count = len(factors)

    HW, Hb = np.zeros(V.shape, dtype), np.zeros((*V.shape[:-2], W.shape[1]), dtype)
    step = rows_at_once(W, max(_LEAST_ROWS, _BLOCK // W.shape[1]))
    for start, rows in zip(range(0, count, step), row_blocks(count, step, index), strict=True):
        left, known = (None if a is None else a[rows] for a in (mask, s))
        x = X[rows]
        delta = _logit_product(x, W, b, V, Vb, known, left)
        if shared is None:
            delta = Factors(factors[start : start + step], X.dtype).scale(delta)
        HW += x.T @ delta
        Hb += delta.sum(axis=-2, dtype=Hb.dtype)
        del delta  # which would be held while the next one is made
    if shared is not None:
        HW *= shared
        Hb *= shared
    return HW, Hb


def _check_direction(V: Array, Vb: Array | None, W: Array, b: Array | None) -> None:
    if V.shape[-2:] != W.shape:
        raise ValueError(f"V must have shape {W.shape}, as W, or (..., D, K); found {V.shape}")
    if Vb is not None:
        if b is None:
            raise ValueError("Vb must be None where b is None: there is no bias to move")
        check_shape(Vb, (*V.shape[:-2], W.shape[1]), "Vb")


def _logit_product(
    X: Array,
    W: Array,
    b: Array | None,
    V: Array,
    Vb: Array | None,
    s: Array | None,
    mask: Mask | None,
) -> Array:
    """Return ``(..., N, K)``, how the softmax of the logits moves along the directions."""
    v = linear(X, V, None if Vb is None else Vb[..., np.newaxis, :])
    if mask is not None:
        s = softmax(linear(X, W, b), where=mask) if s is None else s
        return softmax_vjp(np.broadcast_to(s, v.shape), v, where=mask, out=v)
    backend = kernels(v.dtype)  # in place on either, where public functions may compute beside
    if s is None:
        s = linear(X, W, b)
        backend.softmax(s[np.newaxis], s[np.newaxis], 1.0)
    rows = v.reshape(-1, *s.shape)
    if rows.size:
        backend.softmax_vjp(np.broadcast_to(s, rows.shape), rows, rows)
    return v
