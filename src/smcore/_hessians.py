"""Products with the Hessian of the cross-entropy, for Newton's method, without the matrix."""

from __future__ import annotations

from typing import SupportsIndex, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Array, Axis, F, Real, as_floats, as_like, cast, widened
from ._backend import kernels
from ._calls import public
from ._criterion import Reduction
from ._curvature import Factors, factors_of, hessian_of
from ._outputs import as_output, deliver
from ._rows import Rows
from ._where import Selection

__all__ = ["cross_entropy_hvp"]


class _Options(TypedDict, total=False):
    """What the Hessian in the logits takes besides."""

    axis: Axis
    where: ArrayLike | None
    weight: ArrayLike | None
    sample_weight: ArrayLike | None
    ignore_index: SupportsIndex
    reduction: Reduction
    label_smoothing: Real
    out: Array | None


@overload
def cross_entropy_hvp(
    s: NDArray[F],
    v: NDArray[F] | float,
    target: ArrayLike | None = None,
    **options: Unpack[_Options],
) -> NDArray[F]: ...
@overload
def cross_entropy_hvp(
    s: ArrayLike, v: ArrayLike, target: ArrayLike | None = None, **options: Unpack[_Options]
) -> Array: ...
@public
def cross_entropy_hvp(
    s: ArrayLike,
    v: ArrayLike,
    target: ArrayLike | None = None,
    *,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    out: Array | None = None,
) -> Array:
    r"""Multiply a direction of the logits by the Hessian matrix of the cross-entropy.

    With the arguments that `cross_entropy_with_grad` was given, this is how its gradient moves
    with the logits.

    Parameters
    ----------
    s : array_like
        What `softmax` returned for the logits, K classes along `axis`.
    v : array_like
        The direction in which the logits move, of the shape of `s` or broadcastable to it.
    target : array_like, optional
        Either labels 0 to K-1, integers of any width, in the shape of `s` without `axis`; or
        probabilities, floats in the shape of `s`. Without one, every row counts as one label does
        without weights: the Hessian depends on nothing else.
    axis : int, tuple of ints or None, default -1
        The axis of the classes. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which classes take part in each row, as `softmax` was told, broadcastable to `s`. The others
        are never looked at, in `v` and in a target of probabilities neither, and get 0.
    weight : array_like, shape (K,), optional
        A factor for each class; needs a `target`. The mean divides by the summed weights of the
        labels counted.
    sample_weight : array_like, optional
        A factor for each row's loss, finite and at least 0: in the shape of `s` without `axis`, or
        broadcastable to it. A row of weight 0 does not count, as one that is ignored. The mean
        divides by the summed weights of the rows counted, each times that of its label, if any.
    ignore_index : int, default -100
        Rows with this label do not count: their product is 0. Without meaning for probabilities.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the Hessian is that of their sum.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes. It makes no
        difference unless there are weights, or probabilities that do not sum to one.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `s` or `v` itself, or overlap
        them.

    Returns
    -------
    ndarray
        The shape of `s`, in the dtype that `s` and `v` promote to: `out` if given, a NumPy scalar
        if it is 0-d. 0 for a row that does not count.

    Raises
    ------
    TypeError
        If `s`, `v` or `weight` is not real, `where` not boolean, `target` neither integers nor
        floats, or `out` of another dtype.
    ValueError
        If a label is neither 0 to K-1 nor `ignore_index`, an argument has the wrong shape,
        `weight` is not finite or given without a target, `sample_weight` negative or not finite,
        `reduction` unknown, `label_smoothing` outside [0, 1], there are no classes, or `out` cannot
        be written.
    numpy.exceptions.AxisError
        If `s` has no such axis.

    See Also
    --------
    cross_entropy_with_grad : The loss and its gradient.
    linear_cross_entropy_hvp : The same for the weights of the layer before.
    softmax_jvp : The product without the factor of the loss.

    Notes
    -----
    The gradient of a row's loss is :math:`A s - a`, with the :math:`a_c` of `cross_entropy` and
    their sum :math:`A`. Only :math:`s` depends on the logits, so

    .. math:: H v = \frac{A}{d} \bigl(\operatorname{diag}(s) - s s^T\bigr) v,

    with the divisor :math:`d` of the reduction. For a label, :math:`A = (1 - \epsilon) w_y +
    \epsilon \bar w`: one, without weights. The rows do not mix, and H is positive semidefinite.

    In the *logits* three matrices coincide, because softmax is the canonical link of the
    cross-entropy: this exact Hessian; the Gauss-Newton matrix, which would leave out the second
    derivative of the logits; and A times the Fisher information of one draw from the *model's*
    distribution s, :math:`E_{y \sim s}[(e_y - s)(e_y - s)^T] = \operatorname{diag}(s) - s s^T`.
    The labels come in through A alone. (The "empirical Fisher" matrix, of the gradients at the
    labels given, is another one.) In the *parameters* of a network the product with the
    Gauss-Newton matrix takes a jvp of the logits, this function, and a vjp; it is the exact Hessian
    where the logits are linear in the parameters.

    Examples
    --------
    >>> from smcore import cross_entropy_hvp, softmax
    >>> s = softmax([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    >>> cross_entropy_hvp(s, [1.0, 0.0, 0.0], reduction="sum").round(4)
    array([[ 0.0819, -0.022 , -0.0599],
           [ 0.2222, -0.1111, -0.1111]])
    >>> cross_entropy_hvp(s, [1.0, 0.0, 0.0], [2, -100]).round(4)
    array([[ 0.0819, -0.022 , -0.0599],
           [ 0.    ,  0.    ,  0.    ]])
    """
    s, v = as_floats(s=s, v=v)
    rows = Rows(s.shape, axis)
    criterion = hessian_of(
        s.shape,
        s.dtype,
        target,
        axis,
        where,
        weight,
        sample_weight,
        ignore_index,
        reduction,
        label_smoothing,
    )
    factors = factors_of(criterion).reshape(rows.kept)
    v = as_like(v, s.shape, "v")
    selection = Selection.of(where, s.shape, s.dtype)
    result = as_output(out, s, s.shape)
    if selection is not None:
        s, v = selection.copy(s, 0.0), selection.copy(v, 0.0)
    s, v = widened(s, v)
    product = result if result.dtype == s.dtype else np.empty(s.shape, s.dtype)
    by_row = Factors(factors, s.dtype)
    rows.map(kernels(s.dtype).softmax_vjp, (rows.view(s), rows.view(v)), product)
    by_row.scale(product)
    if product is not result:
        result[...] = cast(product, result.dtype)
    if selection is not None:
        selection.fill(result, 0.0)
    return deliver(result, out)
