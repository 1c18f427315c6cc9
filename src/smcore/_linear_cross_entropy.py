"""Cross-entropy of a softmax layer, from its input: the logits are held for a block of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, SupportsIndex, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, Real
from ._calls import public
from ._criterion import Options, Reduced, Reduction
from ._linear import LayerGradients, as_gradients
from ._linear_loss import evaluate_in_blocks, judged_loss

__all__ = ["linear_cross_entropy", "linear_cross_entropy_with_grad"]


class _LayerOptions(Options, total=False):
    block_bytes: SupportsIndex | None


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
    sample_weight: ArrayLike | None = None,
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
    X : array_like, shape (D,) or (..., D)
        One input, or some along any leading axes.
    W : array_like, shape (D, K)
        The weights.
    target : array_like
        Either labels 0 to K-1, integers of any width, of the shape of `X` without its last axis; or
        probabilities, floats of the shape of the logits, (K,) or (..., K).
    b : array_like, shape (K,), optional
        The bias.
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to the logits, (..., K). A row is
        judged as if it had these alone: its other logits, and what a target of probabilities holds
        for them, are never looked at, and smoothing spreads over those left. A label that is left
        out has, as one with a logit of -inf, an infinite loss. (`W` is multiplied whole: a NaN in
        the column of such a class comes out in ``dX``.)
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `X` without its last
        axis, or broadcastable to it. A row of weight 0 does not count, as one that is ignored. The
        mean divides by the summed weights of the rows counted, each times that of its label.
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
        `weight` is not finite, `sample_weight` negative or not finite, `reduction` unknown,
        `label_smoothing` outside [0, 1], `z_loss` negative or not finite, `block_bytes`
        less than 1, or there are no classes.

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
    layer, criterion = judged_loss(
        X,
        W,
        b,
        block_bytes,
        target,
        where,
        weight,
        sample_weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    loss, lse = evaluate_in_blocks(layer, criterion, return_lse)
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
    wrt: Iterable[str] = "XWb",
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
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    return_lse: bool = False,
    block_bytes: SupportsIndex | None = None,
    wrt: Iterable[str] = "XWb",
) -> Any:
    r"""Compute the cross-entropy of a softmax layer and its gradients by input, weights and bias.

    Parameters
    ----------
    X : array_like, shape (D,) or (..., D)
        One input, or some along any leading axes.
    W : array_like, shape (D, K)
        The weights.
    target : array_like
        Either labels 0 to K-1, integers of any width, of the shape of `X` without its last axis; or
        probabilities, floats of the shape of the logits, (K,) or (..., K).
    b : array_like, shape (K,), optional
        The bias.
    where : array_like of bool, optional
        Which classes take part in each row, broadcastable to the logits, (..., K). A row is
        judged as if it had these alone: its other logits, and what a target of probabilities holds
        for them, are never looked at, and smoothing spreads over those left. A label that is left
        out has, as one with a logit of -inf, an infinite loss. (`W` is multiplied whole: a NaN in
        the column of such a class comes out in ``dX``.)
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `X` without its last
        axis, or broadcastable to it. A row of weight 0 does not count, as one that is ignored. The
        mean divides by the summed weights of the rows counted, each times that of its label.
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
    wrt : str or iterable of str, default "XWb"
        The names of the gradients that are wanted, among "X", "W" and "b". Others are not computed:
        training without a layer before it needs ``wrt="Wb"``, and a product over the logits less.

    Returns
    -------
    loss : scalar or ndarray
        In the dtype that `X`, `W` and `b` promote to: one number, or with ``reduction="none"`` one
        for each row. The mean over no row at all, as when every target is ignored, is NaN.
    gradients : tuple
        ``(dX, dW, db)``, the gradients of the loss, in the shapes of `X`, `W` and `b`. None stands
        for one that `wrt` does not name, and for `db` where `b` is None.
    lse : scalar or ndarray
        The logsumexp of each row's logits, ignored or not. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, `target` neither integers nor floats, or
        `block_bytes` not an integer.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite, `sample_weight` negative or not finite, `reduction` unknown,
        `label_smoothing` outside [0, 1], `z_loss` negative or not finite, `block_bytes`
        less than 1, `wrt` names anything else, or there are no classes.

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
    never less than one row. A thin layer, of no more than some 30,000 weights, is gone through in
    blocks so small that the second product still finds the inputs in the cache. Rows that do not
    count are left out of all products, whatever `X` holds there; for their logsumexp logits are
    made all the same.

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

    Without the gradient by the input, which takes a third of the time:

    >>> loss, (_, dW, _) = linear_cross_entropy_with_grad(X, W, [1], wrt="W")
    """
    layer, criterion = judged_loss(
        X,
        W,
        b,
        block_bytes,
        target,
        where,
        weight,
        sample_weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
    )
    wanted = as_gradients(wrt, "XWb")
    gradients = LayerGradients(layer, wanted)
    loss, lse = evaluate_in_blocks(layer, criterion, return_lse, gradients)
    found = gradients.results(np.shape(X))
    return (loss, found, lse) if return_lse else (loss, found)
