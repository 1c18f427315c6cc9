"""Cross-entropy of softmax, from the logits."""

from __future__ import annotations

from typing import Any, Literal, SupportsIndex, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Array, Axis, F, Real, as_float
from ._calls import public
from ._criterion import Options, Reduced, Reduction, criterion_of
from ._outputs import as_output, deliver

__all__ = ["cross_entropy", "cross_entropy_with_grad"]


class _AxisOptions(Options, total=False):
    axis: Axis


class _GradientOptions(_AxisOptions, total=False):
    out: Array | None


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
    sample_weight: ArrayLike | None = None,
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
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `x` without `axis`, or
        broadcastable to it. A row of weight 0 does not count, as one that is ignored. The mean
        divides by the summed weights of the rows counted, each times that of its label, if any.
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
        `weight` is not finite, `sample_weight` negative or not finite, `reduction` unknown,
        `label_smoothing` outside [0, 1], `z_loss` negative or not finite, or there are
        no classes.
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
    criterion = criterion_of(
        x.shape,
        x.dtype,
        target,
        axis,
        where,
        weight,
        sample_weight,
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
    sample_weight: ArrayLike | None = None,
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
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `x` without `axis`, or
        broadcastable to it. A row of weight 0 does not count, as one that is ignored. The mean
        divides by the summed weights of the rows counted, each times that of its label, if any.
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
        `weight` is not finite, `sample_weight` negative or not finite, `reduction` unknown,
        `label_smoothing` outside [0, 1], `z_loss` negative or not finite, there are no
        classes, or `out` cannot be written.
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
    criterion = criterion_of(
        x.shape,
        x.dtype,
        target,
        axis,
        where,
        weight,
        sample_weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    gradient = as_output(out, x, x.shape)
    loss, lse = criterion.evaluate(x, gradient)
    dx = deliver(gradient, out)
    return (loss, dx, lse) if return_lse else (loss, dx)
