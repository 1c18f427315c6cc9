"""Cross-entropy of softmax, from the logits or from the layer that makes them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import (
    Array,
    Axis,
    DType,
    Rows,
    as_float,
    as_floats,
    as_output,
    as_real,
    cast,
    check_shape,
    compute_dtype,
    deliver,
    is_float,
    sum_dtype,
    widened,
)
from ._backend import Kernels, core, kernels
from ._layer import check_layer, linear, linear_vjp

__all__ = [
    "cross_entropy",
    "cross_entropy_with_grad",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
]

Reduction = Literal["mean", "sum", "none"]

_IGNORED = -1  # the label by which the kernels know a row that does not count


@core.fast_path
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    r"""Compute the cross-entropy between the softmax of logits and a target.

    The arguments mean what they do in PyTorch, but for the axis of the classes: the last by
    default.

    Parameters
    ----------
    x : array_like
        The logits, K classes along `axis`.
    target : array_like
        Either labels 0 to K-1, integers of any width, in the shape of `x` without `axis`; or
        probabilities, floats in the shape of `x`.
    axis : int, tuple of ints or None, default -1
        The axis of the classes. Several axes make one row together; None takes all.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.

    Returns
    -------
    scalar or ndarray
        In the dtype of `x`: one number, or with ``reduction="none"`` one for each row. The mean
        over no row at all, as when every target is ignored, is NaN.

    Raises
    ------
    TypeError
        If `x` or `weight` is not real, or `target` neither integers nor floats.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], or there
        are no classes.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    cross_entropy_with_grad : With the gradient, in the same pass.
    linear_cross_entropy : From the layer before.

    Notes
    -----
    For a row with label :math:`y`, class weights :math:`w` and smoothing :math:`\epsilon`,

    .. math:: L = \sum_c a_c \Bigl(\log \sum_k e^{x_k} - x_c\Bigr), \qquad
              a_c = w_c \Bigl((1 - \epsilon)\, t_c + \frac{\epsilon}{K}\Bigr),

    where :math:`t_c` is 1 for :math:`c = y`, else 0, or the probability given. The bracket is
    computed as a sum of two terms that are not negative, so nothing cancels: a sure prediction
    keeps its small loss. A class with :math:`a_c = 0` adds nothing, even if its logit is -inf.

    Examples
    --------
    >>> import numpy as np
    >>> from smcore import cross_entropy
    >>> x = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    >>> cross_entropy(x, [2, 0]).round(4)
    np.float64(0.7531)
    >>> cross_entropy(x, [2, -100], reduction="none").round(4)
    array([0.4076, 0.    ])
    >>> cross_entropy(x, [[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]], reduction="sum").round(4)
    np.float64(1.5062)
    """
    x = as_float(x, "x")
    criterion = _criterion(
        x.shape, x.dtype, target, axis, weight, ignore_index, reduction, label_smoothing
    )
    return criterion.loss(x)


@core.fast_path
def cross_entropy_with_grad(
    x: ArrayLike,
    target: ArrayLike,
    *,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    out: Array | None = None,
) -> tuple[Any, Array]:
    r"""Compute the cross-entropy and its gradient by the logits, in one pass.

    The arguments mean what they do in PyTorch, but for the axis of the classes: the last by
    default.

    Parameters
    ----------
    x : array_like
        The logits, K classes along `axis`.
    target : array_like
        Either labels 0 to K-1, integers of any width, in the shape of `x` without `axis`; or
        probabilities, floats in the shape of `x`.
    axis : int, tuple of ints or None, default -1
        The axis of the classes. Several axes make one row together; None takes all.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype. May be `x` itself, or overlap it.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype of `x`: one number, or with ``reduction="none"`` one for each row. The mean
        over no row at all, as when every target is ignored, is NaN.
    dx : ndarray
        The gradient of the loss by `x`, in its shape and dtype: `out` if given. 0 for a row
        ignored.

    Raises
    ------
    TypeError
        If `x` or `weight` is not real, or `target` neither integers nor floats, or `out` of
        another dtype.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], or there
        are no classes, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    cross_entropy : The loss alone.
    linear_cross_entropy_with_grad : Carried on to the layer before.

    Notes
    -----
    With the :math:`a_c` of `cross_entropy` and their sum :math:`A`,

    .. math:: \frac{\partial L}{\partial x_c} = A s_c - a_c.

    This is the usual :math:`s - t` for plain targets. Where the label is also the largest logit,
    :math:`s_c - 1` would cancel, and minus the sum of the other probabilities is returned instead.

    Examples
    --------
    >>> from smcore import cross_entropy_with_grad
    >>> loss, dx = cross_entropy_with_grad([[1.0, 2.0, 3.0]], [2])
    >>> loss.round(4), dx.round(4)
    (np.float64(0.4076), array([[ 0.09  ,  0.2447, -0.3348]]))

    A sure prediction still has a gradient:

    >>> loss, dx = cross_entropy_with_grad([0.0, 50.0], 1)
    >>> print(f"{loss:.3g}, {dx[1]:.3g}")
    1.93e-22, -1.93e-22
    """
    x = as_float(x, "x")
    criterion = _criterion(
        x.shape, x.dtype, target, axis, weight, ignore_index, reduction, label_smoothing
    )
    gradient = as_output(out, x, x.shape)
    return criterion.loss(x, gradient), deliver(gradient, out)


def linear_cross_entropy(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    r"""Compute the cross-entropy of a softmax layer, from its input: of the logits ``X @ W + b``.

    Parameters
    ----------
    X : array_like, shape (D,) or (N, D)
        One input, or a batch of N.
    W : array_like, shape (D, K)
        The weights.
    target : array_like
        Either labels 0 to K-1, integers of any width, of shape () or (N,); or probabilities, floats
        of shape (K,) or (N, K).
    b : array_like, shape (K,), optional
        The bias.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.

    Returns
    -------
    scalar or ndarray
        In the dtype that `X`, `W` and `b` promote to: one number, or with ``reduction="none"`` one
        for each row. The mean over no row at all, as when every target is ignored, is NaN.

    Raises
    ------
    TypeError
        If an argument is not real, or `target` neither integers nor floats.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], or there
        are no classes.

    See Also
    --------
    linear_cross_entropy_with_grad : With the gradients.
    cross_entropy : From the logits; the loss is described there.

    Examples
    --------
    >>> from smcore import linear_cross_entropy
    >>> X, W = [[1.0, 2.0]], [[0.0, 1.0], [0.0, 1.0]]
    >>> linear_cross_entropy(X, W, [1]).round(4)
    np.float64(0.0486)
    """
    X, W, b = as_floats(("b",), X=X, W=W, b=b)
    criterion = _layer_criterion(X, W, b, target, weight, ignore_index, reduction, label_smoothing)
    return cast(criterion.loss(linear(*widened(X, W, b))), X.dtype)


def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Any, tuple[Array, Array, Array | None]]:
    r"""Compute the cross-entropy of a softmax layer and its gradients by input, weights and bias.

    Parameters
    ----------
    X : array_like, shape (D,) or (N, D)
        One input, or a batch of N.
    W : array_like, shape (D, K)
        The weights.
    target : array_like
        Either labels 0 to K-1, integers of any width, of shape () or (N,); or probabilities, floats
        of shape (K,) or (N, K).
    b : array_like, shape (K,), optional
        The bias.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype that `X`, `W` and `b` promote to: one number, or with ``reduction="none"`` one
        for each row. The mean over no row at all, as when every target is ignored, is NaN.
    gradients : tuple
        ``(dX, dW, db)``, the gradients of the loss, in the shapes of `X`, `W` and `b`; `db` is None
        where `b` is.

    Raises
    ------
    TypeError
        If an argument is not real, or `target` neither integers nor floats.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], or there
        are no classes.

    See Also
    --------
    linear_cross_entropy : The loss alone.
    cross_entropy_with_grad : From the logits; loss and gradient are described there.

    Notes
    -----
    With the gradient :math:`\delta` by the logits,

    .. math:: dX = \delta W^T, \qquad dW = X^T \delta, \qquad db = \textstyle\sum_n \delta_n.

    Examples
    --------
    >>> from smcore import linear_cross_entropy_with_grad
    >>> X, W = [[1.0, 2.0]], [[0.0, 1.0], [0.0, 1.0]]
    >>> loss, (dX, dW, db) = linear_cross_entropy_with_grad(X, W, [1], b=[0.0, 0.0])
    >>> dX.round(4)
    array([[-0.0474, -0.0474]])
    >>> dW.round(4)
    array([[ 0.0474, -0.0474],
           [ 0.0949, -0.0949]])
    >>> db.round(4)
    array([ 0.0474, -0.0474])
    """
    X, W, b = as_floats(("b",), X=X, W=W, b=b)
    criterion = _layer_criterion(X, W, b, target, weight, ignore_index, reduction, label_smoothing)
    dtype = X.dtype
    X, W, b = widened(X, W, b)
    z = linear(X, W, b)
    loss = criterion.loss(z, z)
    dW, db, dX = linear_vjp(X, W, z, dtype)
    return cast(loss, dtype), (dX, dW, None if b is None else db)


@dataclass(frozen=True)
class _Criterion:
    """What is asked of logits of one shape and dtype: checked, and in the kernels' terms."""

    rows: Rows
    target: Array  # labels (*lead), int64; or probabilities (*lead, K)
    weight: Array | None  # (K,)
    smoothing: Any  # a scalar of `sum_dtype`, as the divisor
    reduction: Reduction
    divisor: Any  # of the summed losses, and of their gradient

    def loss(self, x: Array, gradient: Array | None = None) -> Any:
        """Return the loss of logits `x`, and fill in its gradient, which may be `x` itself."""
        rows = self.rows
        losses = np.empty(rows.lead, compute_dtype(x.dtype))
        operands = [rows.view(x), self.target]
        kernel = self._kernel(kernels(x.dtype))
        if gradient is None:
            rows.sweep(kernel, operands, losses)
        else:
            rows.map(kernel, [*operands, losses], gradient)
        return self._reduced(losses, x.dtype)

    def _kernel(self, backend: Kernels) -> Callable[..., None]:
        with np.errstate(all="ignore"):
            on, off = 1 - self.smoothing, self.smoothing / self.rows.length
            factor = 1 / self.divisor if self.divisor else 0.0

        def run(x: Array, target: Array, losses: Array, gradient: Array | None = None) -> None:
            labels, soft = (target, None) if target.dtype == np.int64 else (None, target)
            backend.cross_entropy(x, labels, soft, self.weight, on, off, factor, losses, gradient)

        return run

    def _reduced(self, losses: Array, dtype: DType) -> Any:
        if self.reduction == "none":
            return deliver(cast(losses, dtype), None)
        with np.errstate(all="ignore"):
            return dtype.type(losses.sum(dtype=sum_dtype(dtype)) / self.divisor)


def _criterion(
    shape: tuple[int, ...],
    dtype: DType,
    target: ArrayLike,
    axis: Axis,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: Reduction,
    label_smoothing: float,
) -> _Criterion:
    """Judge the arguments of a loss of logits of this shape and dtype."""
    rows = Rows(shape, axis)
    if rows.length == 0:
        raise ValueError(f"there must be at least one class; found logits of shape {shape}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; found {reduction!r}")
    smoothing = as_real(label_smoothing, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1]; found {label_smoothing!r}")
    weights = None if weight is None else _as_weights(weight, rows.length, dtype)

    values = np.asarray(target)
    if values.dtype.kind in "iu":
        values = _as_labels(values, rows, ignore_index)
        divisor = _counted(values, weights, dtype)
    elif is_float(values.dtype):
        check_shape(values, shape, "target (of floats, one for each logit)")
        values = rows.view(as_float(values, "target", dtype))
        divisor = math.prod(rows.lead)
    else:
        raise TypeError(
            f"target must hold integer labels, or probabilities as floats; found {values.dtype}"
        )
    if reduction != "mean":
        divisor = 1
    exact = sum_dtype(dtype).type
    return _Criterion(rows, values, weights, exact(smoothing), reduction, exact(divisor))


def _layer_criterion(X: Array, W: Array, b: Array | None, *arguments: Any) -> _Criterion:
    """Judge a layer, and the arguments of a loss of its logits ``X @ W + b``."""
    check_layer(X, W, b, x_name="X")
    target, *others = arguments
    shape = (*X.shape[:-1], W.shape[1])
    return _criterion(shape, compute_dtype(X.dtype), target, -1, *others)


def _as_weights(weight: ArrayLike, count: int, dtype: DType) -> Array:
    weights = as_float(weight, "weight", compute_dtype(dtype))
    check_shape(weights, (count,), "weight")
    if not np.isfinite(weights).all():
        raise ValueError(f"weight must be finite in {weights.dtype}; found {weight!r}")
    return weights.copy()  # contiguous, and out of the way of `out`


def _as_labels(values: Array, rows: Rows, ignore_index: int) -> Array:
    """Return a copy of the labels as the kernels know them, ignored ones as -1."""
    check_shape(values, rows.lead, "target (of integers, one for each row)")
    try:
        ignored = values == operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer; found {ignore_index!r}") from None
    wrong = ~ignored & ((values < 0) | (values >= rows.length))
    if wrong.any():
        position = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"target must hold labels 0 to {rows.length - 1}, or ignore_index ({ignore_index}); "
            f"found {values[position]} at index {position}"
        )
    labels = values.astype(np.int64)
    labels[ignored] = _IGNORED
    return labels


def _counted(labels: Array, weights: Array | None, dtype: DType) -> Any:
    """Return the summed weights of the rows that count."""
    counted = labels[labels != _IGNORED]
    if weights is None:
        return counted.size
    with np.errstate(over="ignore"):
        return weights[counted].sum(dtype=sum_dtype(dtype))
