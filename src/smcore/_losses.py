"""Cross-entropy of softmax, from the logits or from the layer that makes them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import (
    Array,
    Axis,
    DType,
    F,
    Mask,
    Real,
    Rows,
    Selection,
    as_array,
    as_float,
    as_floats,
    as_mask,
    as_output,
    as_real,
    cast,
    check_shape,
    compute_dtype,
    deliver,
    is_float,
    sum_dtype,
)
from ._backend import kernels
from ._blocks import LayerBlocks, LayerGradients
from ._calls import public
from ._layer import check_layer

__all__ = [
    "cross_entropy",
    "cross_entropy_with_grad",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
]

Reduction = Literal["mean", "sum", "none"]

_IGNORED = -1  # the label by which the kernels know a row that does not count
_BLOCK = 1 << 22  # logits that `where` is applied to at once
_MASKED = 4  # arrays as large as these logits that it takes meanwhile


Reduced = Literal["mean", "sum"]  # to one number


class _Options(TypedDict, total=False):
    """What every loss takes besides `reduction` and `return_lse`."""

    where: ArrayLike | None
    weight: ArrayLike | None
    ignore_index: SupportsIndex
    label_smoothing: Real
    z_loss: Real


class _AxisOptions(_Options, total=False):
    axis: Axis


class _GradientOptions(_AxisOptions, total=False):
    out: Array | None


class _LayerOptions(_Options, total=False):
    block_bytes: SupportsIndex | None


@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduced = "mean",
    return_lse: Literal[False] = False,
    **options: Unpack[_AxisOptions],
) -> np.floating[Any]: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[True],
    **options: Unpack[_AxisOptions],
) -> tuple[Any, Any]: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: bool = False,
    **options: Unpack[_AxisOptions],
) -> Any: ...
@public
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    return_lse: bool = False,
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
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to `x`. A row is judged as if it had
        these alone: what `x`, or a target of probabilities, holds for the others is never looked
        at, and smoothing spreads over those left. A label that is left out has, as one with a logit
        of -inf, an infinite loss.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: each row that counts has ``z_loss * lse**2`` added to its loss, where
        lse is the logsumexp of its logits, which this keeps from drifting. Class weights do not
        enter the term; "mean" divides it as it does the rest.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype of `x`: one number, or with ``reduction="none"`` one for each row. The mean
        over no row at all, as when every target is ignored, is NaN.
    lse : scalar or ndarray
        The logsumexp of each row's logits, ignored or not. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If `x` or `weight` is not real, `where` not boolean, or `target` neither integers nor
        floats.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], `z_loss`
        negative or not finite, or there are no classes.
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

    where :math:`t_c` is 1 for :math:`c = y`, else 0, or the probability given, and K counts the
    classes that take part. The bracket is computed as a sum of two terms that are not negative, so
    nothing cancels: a sure prediction keeps its small loss. A class with :math:`a_c = 0` adds
    nothing, even if its logit is -inf. A probability that is
    infinite or NaN makes the loss of its row NaN.

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
        x.shape,
        x.dtype,
        target,
        axis,
        where,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    loss, lse = criterion.evaluate(x)
    return (loss, lse) if return_lse else loss


@overload
def cross_entropy_with_grad(
    x: NDArray[F],
    target: ArrayLike,
    *,
    reduction: Reduced = "mean",
    return_lse: Literal[False] = False,
    **options: Unpack[_GradientOptions],
) -> tuple[F, NDArray[F]]: ...
@overload
def cross_entropy_with_grad(
    x: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[False] = False,
    **options: Unpack[_GradientOptions],
) -> tuple[Any, Array]: ...
@overload
def cross_entropy_with_grad(
    x: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[True],
    **options: Unpack[_GradientOptions],
) -> tuple[Any, Array, Any]: ...
@overload
def cross_entropy_with_grad(
    x: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: bool,
    **options: Unpack[_GradientOptions],
) -> Any: ...
@public
def cross_entropy_with_grad(
    x: ArrayLike,
    target: ArrayLike,
    *,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    return_lse: bool = False,
    out: Array | None = None,
) -> Any:
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
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to `x`. A row is judged as if it had
        these alone: what `x`, or a target of probabilities, holds for the others is never looked
        at, and smoothing spreads over those left. A label that is left out has, as one with a logit
        of -inf, an infinite loss.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: each row that counts has ``z_loss * lse**2`` added to its loss, where
        lse is the logsumexp of its logits, which this keeps from drifting. Class weights do not
        enter the term; "mean" divides it as it does the rest.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype. May be `x` itself, or overlap it.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype of `x`: one number, or with ``reduction="none"`` one for each row. The mean
        over no row at all, as when every target is ignored, is NaN.
    dx : ndarray
        The gradient of the loss by `x`, in its shape and dtype: `out` if given. 0 for a row
        ignored, and where `where` is False.
    lse : scalar or ndarray
        The logsumexp of each row's logits, ignored or not. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If `x` or `weight` is not real, `where` not boolean, `target` neither integers nor floats,
        or `out` of another dtype.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], `z_loss`
        negative or not finite, or there are no classes, or `out` cannot be written.
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

    This is the usual :math:`s - t` for plain targets. A z-loss (Chowdhery et al., "PaLM", 2022) of
    factor :math:`\lambda` adds :math:`2 \lambda \ell s_c`, with the logsumexp :math:`\ell`.

    Where the label is also the largest logit, :math:`s_c - 1` would cancel, and minus the sum of
    the other probabilities is returned instead.

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

    With the logsumexp, and a loss that holds it near zero:

    >>> loss, dx, lse = cross_entropy_with_grad([0.0, 50.0], 1, z_loss=1e-4, return_lse=True)
    >>> loss.round(4), dx.round(4), lse.round(4)
    (np.float64(0.25), array([0.  , 0.01]), np.float64(50.0))
    """
    x = as_float(x, "x")
    criterion = _criterion(
        x.shape,
        x.dtype,
        target,
        axis,
        where,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    gradient = as_output(out, x, x.shape)
    loss, lse = criterion.evaluate(x, gradient)
    dx = deliver(gradient, out)
    return (loss, dx, lse) if return_lse else (loss, dx)


@overload
def linear_cross_entropy(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reduction: Reduced = "mean",
    return_lse: Literal[False] = False,
    **options: Unpack[_LayerOptions],
) -> np.floating[Any]: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[True],
    **options: Unpack[_LayerOptions],
) -> tuple[Any, Any]: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reduction: Reduction = "mean",
    return_lse: bool = False,
    **options: Unpack[_LayerOptions],
) -> Any: ...
@public
def linear_cross_entropy(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    return_lse: bool = False,
    block_bytes: SupportsIndex | None = None,
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
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to the logits, (K,) or (N, K). A row is
        judged as if it had these alone: its other logits, and what a target of probabilities holds
        for them, are never looked at, and smoothing spreads over those left. A label that is left
        out has, as one with a logit of -inf, an infinite loss. (`W` is multiplied whole: a NaN in
        the column of such a class comes out in ``dX``.)
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: each row that counts has ``z_loss * lse**2`` added to its loss, where
        lse is the logsumexp of its logits, which this keeps from drifting. Class weights do not
        enter the term; "mean" divides it as it does the rest.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too.
    block_bytes : int, optional
        How much memory to use besides the results: the logits are made in blocks of rows that fit
        (of one row, if none does). By default 64 MiB, or 5% of the logits where that is more.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype that `X`, `W` and `b` promote to: one number, or with ``reduction="none"`` one
        for each row. The mean over no row at all, as when every target is ignored, is NaN.
    lse : scalar or ndarray
        The logsumexp of each row's logits, ignored or not. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, `target` neither integers nor floats, or
        `block_bytes` not an integer.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], `z_loss`
        negative or not finite, `block_bytes` less than 1, or there are no classes.

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
    layer, criterion = _layer_loss(
        X,
        W,
        b,
        block_bytes,
        target,
        where,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    loss, lse = _evaluate_layer(layer, criterion)
    return (loss, lse) if return_lse else loss


@overload
def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: None = None,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[False] = False,
    **options: Unpack[_LayerOptions],
) -> tuple[Any, tuple[Array, Array, None]]: ...
@overload
def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: None = None,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[True],
    **options: Unpack[_LayerOptions],
) -> tuple[Any, tuple[Array, Array, None], Any]: ...
@overload
def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[False] = False,
    **options: Unpack[_LayerOptions],
) -> tuple[Any, tuple[Array, Array, Array]]: ...
@overload
def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike,
    *,
    reduction: Reduction = "mean",
    return_lse: Literal[True],
    **options: Unpack[_LayerOptions],
) -> tuple[Any, tuple[Array, Array, Array], Any]: ...
@overload
def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reduction: Reduction = "mean",
    return_lse: bool = False,
    **options: Unpack[_LayerOptions],
) -> Any: ...
@public
def linear_cross_entropy_with_grad(
    X: ArrayLike,
    W: ArrayLike,
    target: ArrayLike,
    b: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    return_lse: bool = False,
    block_bytes: SupportsIndex | None = None,
) -> Any:
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
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to the logits, (K,) or (N, K). A row is
        judged as if it had these alone: its other logits, and what a target of probabilities holds
        for them, are never looked at, and smoothing spreads over those left. A label that is left
        out has, as one with a logit of -inf, an infinite loss. (`W` is multiplied whole: a NaN in
        the column of such a class comes out in ``dX``.)
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0. Without meaning for
        probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the gradient is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: each row that counts has ``z_loss * lse**2`` added to its loss, where
        lse is the logsumexp of its logits, which this keeps from drifting. Class weights do not
        enter the term; "mean" divides it as it does the rest.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too.
    block_bytes : int, optional
        How much memory to use besides the results: the logits are made in blocks of rows that fit
        (of one row, if none does). By default 64 MiB, or 5% of the logits where that is more.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype that `X`, `W` and `b` promote to: one number, or with ``reduction="none"`` one
        for each row. The mean over no row at all, as when every target is ignored, is NaN.
    gradients : tuple
        ``(dX, dW, db)``, the gradients of the loss, in the shapes of `X`, `W` and `b`; `db` is None
        where `b` is.
    lse : scalar or ndarray
        The logsumexp of each row's logits, ignored or not. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, `target` neither integers nor floats, or
        `block_bytes` not an integer.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `reduction` unknown, `label_smoothing` outside [0, 1], `z_loss`
        negative or not finite, `block_bytes` less than 1, or there are no classes.

    See Also
    --------
    linear_cross_entropy : The loss alone.
    cross_entropy_with_grad : From the logits; loss and gradient are described there.

    Notes
    -----
    With the gradient :math:`\delta` by the logits,

    .. math:: dX = \delta W^T, \qquad dW = X^T \delta, \qquad db = \textstyle\sum_n \delta_n.

    Logits are made for a block of rows at a time, and their gradient in the same place. Each block
    after the first adds to `dW`, so more of `block_bytes` makes large batches faster; but it is
    never less than one row.

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
    layer, criterion = _layer_loss(
        X,
        W,
        b,
        block_bytes,
        target,
        where,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    gradients = LayerGradients(layer)
    loss, lse = _evaluate_layer(layer, criterion, gradients)
    dX, dW, db = gradients.results()
    found = (dX if np.ndim(X) == 2 else dX[0], dW, db)
    return (loss, found, lse) if return_lse else (loss, found)


@dataclass(frozen=True)
class _Criterion:
    """What is asked of logits of one shape and dtype: checked, and in the kernels' terms."""

    rows: Rows
    target: Array  # labels (*lead), int64; or probabilities (*lead, K), of any dtype
    mask: Mask | None  # (*lead, K), the classes that take part
    weight: Array | None  # (K,)
    smoothing: Any  # a scalar of `sum_dtype`, as the divisor
    z_loss: float
    reduction: Reduction
    divisor: Any  # of the summed losses, and of their gradient

    @property
    def has_labels(self) -> bool:
        """Whether the target holds labels rather than probabilities."""
        return self.target.dtype == np.int64

    def evaluate(self, x: Array, gradient: Array | None = None) -> tuple[Any, Any]:
        """Return loss and logsumexp of logits `x`, and fill in the gradient, which may be `x`."""
        rows = self.rows
        losses, lse = self.new_values(x.dtype)
        room = self.room(losses, lse, x.dtype)
        if self.mask is not None:
            z = np.array(rows.view(x), compute_dtype(x.dtype), order="C").reshape(-1, rows.length)
            strip = _Strip(self, z.dtype, losses, lse)
            step = max(1, _BLOCK // rows.length)
            for start in range(0, len(z), step):
                block = slice(start, start + step)
                strip.evaluate(block, z[block], gradient is not None)
            if gradient is not None:
                rows.put(gradient, cast(z, x.dtype))
            return self.results(losses, lse, room)
        operands = [rows.view(x), _as_target(self.target, x.dtype), losses]
        kernel = self.kernel(x.dtype)
        if gradient is None:
            rows.sweep(kernel, operands, lse)
        else:
            rows.map(kernel, [*operands, lse], gradient)
        return self.results(losses, lse, room)

    def new_values(self, dtype: DType) -> tuple[Array, Array]:
        """Return where the kernels put each row's loss, and its logsumexp."""
        lead = self.rows.lead
        return np.empty(lead, compute_dtype(dtype)), np.empty(lead, compute_dtype(dtype))

    def kernel(self, dtype: DType) -> Callable[..., None]:
        """Return the function of blocks of logits, target, losses, logsumexp and gradient."""
        backend = kernels(dtype)
        with np.errstate(all="ignore"):
            on, off = 1 - self.smoothing, self.smoothing / self.rows.length
            factor = 1 / self.divisor if self.divisor else 1.0
        if self.mask is not None:  # `_Strip` smooths the target
            on, off = 1.0, 0.0
        how = (self.weight, on, off, self.z_loss, factor)

        def run(
            x: Array, target: Array, losses: Array, lse: Array, gradient: Array | None = None
        ) -> None:
            labels, soft = (target, None) if target.dtype == np.int64 else (None, target)
            backend.cross_entropy(x, labels, soft, *how, losses, lse, gradient)
            if gradient is not None and not self.divisor:
                self.divide_by_zero(gradient, labels)

        return run

    def divide_by_zero(self, gradient: Array, labels: Array | None) -> None:
        """Do to a gradient what becomes of the loss; rows that are ignored still have none."""
        counted = True if labels is None else (labels != _IGNORED)[..., np.newaxis]
        with np.errstate(all="ignore"):
            zero = gradient.dtype.type(self.divisor)
            np.divide(gradient, zero, out=gradient, where=counted)

    def room(self, losses: Array, lse: Array, dtype: DType) -> tuple[Array, Array]:
        """Return where `results` converts to: had before the gradient is written, or not at all."""
        of_losses = dtype if self.reduction == "none" else sum_dtype(dtype)
        return cast(losses, of_losses), cast(lse, dtype)

    def results(self, losses: Array, lse: Array, room: tuple[Array, Array]) -> tuple[Any, Any]:
        """Return the loss, reduced, and the logsumexp, in the dtype of the logits."""
        with np.errstate(all="ignore"):
            for values, converted in zip((losses, lse), room, strict=True):
                if converted is not values:
                    converted[...] = values
            losses, lse = room
            if self.reduction == "none":
                return deliver(losses, None), deliver(lse, None)
            return lse.dtype.type(losses.sum() / self.divisor), deliver(lse, None)


class _Strip:
    """The rows of a criterion one after the other, to be judged a few at a time.

    What `where` leaves out is done here: kernels get logits of -inf there. So a row is judged as if
    it had the classes left alone; one that has none is given to them as zeros, and judged here.
    """

    def __init__(self, criterion: _Criterion, dtype: DType, losses: Array, lse: Array) -> None:
        K = criterion.rows.length
        self._criterion, self._kernel = criterion, criterion.kernel(dtype)
        self._target = criterion.target.reshape((-1,) if criterion.has_labels else (-1, K))
        self._mask = None if criterion.mask is None else criterion.mask.reshape(-1, K)
        self._losses, self._lse = losses.reshape(-1), lse.reshape(-1)

    def evaluate(self, rows: slice, z: Array, with_gradient: bool) -> None:
        """Fill in loss and logsumexp of some rows of logits, and their gradient over `z`."""
        target, losses, lse = (a[rows] for a in (self._target, self._losses, self._lse))
        mask = None if self._mask is None else self._mask[rows]
        selection = Selection.of(mask, z.shape, z.dtype)
        values = target
        if selection is not None:
            selection.fill(z, -np.inf)
            values = self._left(z, target, selection.mask)
        operands = [z, _as_target(values, z.dtype), losses, lse, *[z] * with_gradient]
        self._kernel(*(array[np.newaxis] for array in operands))
        if selection is None:
            return
        empty = ~selection.mask.any(axis=-1)
        lse[empty] = -np.inf
        losses[empty] = self._without_classes(target)[empty]
        ignored = target < 0 if self._criterion.has_labels else np.zeros_like(empty)
        losses[ignored] = 0
        if with_gradient:
            selection.fill(z, 0.0)
            z[ignored] = 0

    def _left(self, z: Array, target: Array, mask: Mask) -> Array:
        """Return the target of the classes left; and give rows that have none logits of 0."""
        left = mask.sum(axis=-1, keepdims=True)
        z[left[:, 0] == 0] = 0
        criterion, smoothing = self._criterion, self._criterion.smoothing
        if criterion.has_labels and not smoothing:
            return target
        if criterion.has_labels:
            values = np.zeros(mask.shape, z.dtype)
            (counted,) = np.nonzero(target >= 0)
            values[counted, target[counted]] = 1
        else:
            values = np.where(mask, _as_target(target, z.dtype), 0)
        with np.errstate(all="ignore"):
            values *= z.dtype.type(1 - smoothing)
            values += np.where(mask, (smoothing / np.maximum(left, 1)).astype(z.dtype), 0)
        return values

    def _without_classes(self, target: Array) -> Array:
        """Return the losses of rows that have no classes left: that of a label is not finite."""
        criterion, losses = self._criterion, np.zeros(len(target))
        if criterion.has_labels:
            on = criterion.smoothing < 1  # or the label has no share
            share = np.float64(on) if criterion.weight is None else on * criterion.weight[target]
            losses = np.where(share, np.copysign(np.inf, share), losses)
        return losses + np.inf if criterion.z_loss else losses


def _criterion(
    shape: tuple[int, ...],
    dtype: DType,
    target: ArrayLike,
    axis: Axis,
    where: ArrayLike | None,
    weight: ArrayLike | None,
    ignore_index: SupportsIndex,
    reduction: Reduction,
    label_smoothing: Real,
    z_loss: Real,
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
    z_factor = as_real(z_loss, "z_loss")
    if z_factor < 0:
        raise ValueError(f"z_loss must be at least 0; found {z_loss!r}")
    weights = None if weight is None else _as_weights(weight, rows.length, dtype)

    values = _checked_target(target, shape, rows)
    mask = None if where is None else rows.view(np.broadcast_to(as_mask(where, shape), shape))
    if is_float(values.dtype):
        values = rows.view(values)
        divisor: Any = math.prod(rows.lead)
    else:
        values = _as_labels(values, rows, ignore_index)
        divisor = _counted(values, weights, dtype)
    if reduction != "mean":
        divisor = 1
    exact = sum_dtype(dtype).type
    return _Criterion(
        rows, values, mask, weights, exact(smoothing), z_factor, reduction, exact(divisor)
    )


def _checked_target(target: ArrayLike, shape: tuple[int, ...], rows: Rows) -> Array:
    """Return the argument `target`, of integers or floats and of the shape that goes with them."""
    values = as_array(target, "target", "target.filled(ignore_index), or target.data")
    dtype = values.dtype
    per_logit = values.shape == shape != rows.lead
    if dtype.kind not in "iu" and not is_float(dtype):
        hint = ""
        if dtype == np.bool_:
            hint = "; pass target.astype(float)" if per_logit else "; pass target.astype(int)"
        raise TypeError(
            f"target must hold integer labels, or probabilities as floats; found {dtype}{hint}"
        )
    if is_float(dtype):
        name, expected = "target (of floats, one for each logit)", shape
    else:
        name, expected = "target (of integers, one for each row)", rows.lead
    if values.shape != expected:
        hint = _hint_for_target(values, per_logit, rows)
        raise ValueError(f"{name} must have shape {expected}; found {values.shape}{hint}")
    return values


def _hint_for_target(values: Array, per_logit: bool, rows: Rows) -> str:
    """Return what to do with a target of the wrong shape that is right in another form."""
    if per_logit:
        return "; pass one-hot rows as target.astype(float), or labels as target.argmax(axis)"
    if values.shape not in (rows.lead, rows.kept):
        return ""
    form = "" if values.shape == rows.lead else f".reshape({rows.lead})"
    if values.dtype.kind in "iu":
        return f"; pass target{form}"
    with np.errstate(all="ignore"):
        whole = np.isfinite(values).all() and (values == np.rint(values)).all()
    return f"; labels are integers: pass target.astype(int){form}" if whole else ""


def _layer_loss(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None,
    block_bytes: SupportsIndex | None,
    target: ArrayLike,
    where: ArrayLike | None,
    *others: Any,
) -> tuple[LayerBlocks, _Criterion]:
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
    criterion = _criterion(shape, X.dtype, target, -1, where, *others)
    scratch = 0 if where is None else _MASKED
    return LayerBlocks(X, W, b, block_bytes, scratch), criterion


def check_order(X: ArrayLike, W: ArrayLike, target: ArrayLike | None, b: ArrayLike | None) -> None:
    """Raise if bias and labels are given in each other's place."""
    labels, bias = np.asarray(b), np.asarray(target)
    are_swapped = labels.dtype.kind in "iu" and labels.shape == np.shape(X)[:-1]
    if are_swapped and bias.dtype.kind == "f" and bias.shape == np.shape(W)[-1:]:
        raise ValueError(
            f"target must hold labels, and b the bias; found them in each other's place: "
            f"floats of shape {bias.shape} as target, and integers of shape {labels.shape} as b"
        )


def _evaluate_layer(
    layer: LayerBlocks, criterion: _Criterion, gradients: LayerGradients | None = None
) -> tuple[Any, Any]:
    """Return loss and logsumexp of the logits of a layer, and add up its gradients."""
    losses, lse = criterion.new_values(layer.dtype)
    strip = _Strip(criterion, layer.dtype, losses, lse)
    with np.errstate(all="ignore"):
        for rows, z in layer:
            strip.evaluate(rows, z, gradients is not None)
            if gradients is not None:
                gradients.add(rows, z)
    return criterion.results(losses, lse, criterion.room(losses, lse, layer.X.dtype))


def _as_target(values: Array, dtype: DType) -> Array:
    """Return labels as they are, and probabilities in the dtype of the logits."""
    return values if values.dtype == np.int64 else as_float(values, "target", dtype)


def _as_weights(weight: ArrayLike, count: int, dtype: DType) -> Array:
    weights = as_float(weight, "weight", compute_dtype(dtype))
    check_shape(weights, (count,), "weight")
    weights = weights.copy()  # contiguous, out of the way of `out`, and of other threads
    if not np.isfinite(weights).all():
        raise ValueError(f"weight must be finite in {weights.dtype}; found {weight!r}")
    return weights


def _as_labels(values: Array, rows: Rows, ignore_index: SupportsIndex) -> Array:
    """Return a copy of the labels as the kernels know them, ignored ones as -1.

    It is the copy that is judged: another thread may be writing the array itself.
    """
    check_shape(values, rows.lead, "target (of integers, one for each row)")
    values = values.copy()
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
    labels = values.astype(np.int64, copy=False)
    labels[ignored] = _IGNORED
    return labels


def _counted(labels: Array, weights: Array | None, dtype: DType) -> Any:
    """Return the summed weights of the rows that count."""
    counted = labels[labels != _IGNORED]
    if weights is None:
        return counted.size
    with np.errstate(over="ignore"):
        return weights[counted].sum(dtype=sum_dtype(dtype))
