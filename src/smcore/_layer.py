"""A softmax layer, ``softmax(x @ W + b)``, and its Jacobian by the weights.

The weight matrix `W` is ``(J, K)``: inputs by classes. Matrices of derivatives by the weights have
one column per weight, class by class: column ``i*J + j`` belongs to ``W[j, i]``.
"""

from __future__ import annotations

import operator
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import (
    Array,
    F,
    apart,
    as_float,
    as_floats,
    cast,
    compute_dtype,
    widened,
)
from ._backend import kernels
from ._calls import public
from ._linear import (
    as_rows,
    check_batch,
    check_layer,
    check_layer_rows,
    linear,
)
from ._outputs import as_matrices, as_output, deliver, dense
from ._softmax import softmax

__all__ = [
    "linear_weight_jacobian",
    "softmax_layer",
    "softmax_layer_jacobian",
]


@overload
def softmax_layer(
    x: NDArray[F], W: NDArray[F], b: NDArray[F] | None = None, *, out: NDArray[F] | None = None
) -> NDArray[F]: ...
@overload
def softmax_layer(
    x: ArrayLike, W: ArrayLike, b: ArrayLike | None = None, *, out: Array | None = None
) -> Array: ...
@public
def softmax_layer(
    x: ArrayLike, W: ArrayLike, b: ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    r"""Compute a softmax layer, ``softmax(x @ W + b)``.

    Parameters
    ----------
    x : array_like, shape (J,) or (..., J)
        One input, or some along any leading axes.
    W : array_like, shape (J, K)
        The weights.
    b : array_like, shape (K,), optional
        The bias.
    out : ndarray, optional
        Where to write the result, of its shape and dtype.

    Returns
    -------
    ndarray, shape (K,) or (..., K)
        The softmax of each input's logits, in the dtype that the arguments promote to: `out` if
        given. float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If an argument is not real, or `out` of another dtype.
    ValueError
        If an argument or `out` has the wrong shape, or `out` cannot be written.

    See Also
    --------
    softmax_layer_vjp : Backward pass.
    softmax_layer_jacobian : The derivative by the weights.
    linear_cross_entropy_with_grad : The layer with its loss.

    Notes
    -----
    .. math:: s = \operatorname{softmax}(z), \qquad z_k = \sum_j x_j W_{jk} + b_k.

    The outputs sum to one whatever the weights are, so the derivatives by any one weight, summed
    over the outputs, are zero: to change the weights one needs an upstream gradient, from a loss.

    Examples
    --------
    >>> from smcore import softmax_layer
    >>> softmax_layer([1.0, 2.0], [[0.0, 1.0], [0.0, 1.0]]).round(4)
    array([0.0474, 0.9526])
    """
    x, W, b = as_floats(("b",), x=x, W=W, b=b)
    check_layer(x, W, b)
    result = as_output(out, x, (*x.shape[:-1], W.shape[1]))
    if compute_dtype(x.dtype) == x.dtype:
        # A copy of the bias, as it may lie in `out`. (matmul sees to its own operands.)
        softmax(linear(x, W, None if b is None else b.copy(), out=result), out=result)
    else:
        result[...] = cast(softmax(linear(*widened(x, W, b))), x.dtype)
    return deliver(result, out)


@overload
def linear_weight_jacobian(x: NDArray[F], K: SupportsIndex) -> NDArray[F]: ...
@overload
def linear_weight_jacobian(x: ArrayLike, K: SupportsIndex) -> Array: ...
@public
def linear_weight_jacobian(x: ArrayLike, K: SupportsIndex) -> Array:
    r"""Compute the Jacobian matrix of the logits ``z = x @ W + b`` by the weights.

    Parameters
    ----------
    x : array_like, shape (J,) or (..., J)
        The inputs of the layer.
    K : int
        How many classes there are.

    Returns
    -------
    ndarray, shape (K, K*J) or (..., K, K*J)
        Row k is the logit of class k; column ``i*J + j`` is the weight ``W[j, i]``.

    Raises
    ------
    TypeError
        If `x` is not real, or `K` not an integer.
    ValueError
        If `x` is neither 1-D nor 2-D, or `K` is negative.
    MemoryError
        If the matrices cannot be held. Nothing is written then.

    See Also
    --------
    softmax_layer_jacobian : The same through the softmax.

    Notes
    -----
    .. math:: \frac{\partial z_k}{\partial W_{ji}} = \delta_{ik}\, x_j.

    The matrix holds `K` copies of `x` and is zero elsewhere. Multiplied by
    ``softmax_jacobian(s)`` from the left it gives ``softmax_layer_jacobian(s, x)``, by the chain
    rule; both have columns that sum to zero over the outputs, as the outputs sum to one whatever
    the weights are.

    Examples
    --------
    >>> from smcore import linear_weight_jacobian
    >>> linear_weight_jacobian([7.0, 8.0], 2)
    array([[7., 8., 0., 0.],
           [0., 0., 7., 8.]])
    """
    x = as_float(x, "x")
    check_batch(x, "x")
    try:
        K = operator.index(K)
    except TypeError:
        raise TypeError(f"K must be an integer; found {K!r}") from None
    if K < 0:
        raise ValueError(f"K must not be negative; found {K}")
    batch, J = x.shape[:-1], x.shape[-1]
    instead = "SoftmaxLayerJacobian(s, x), or the product with a direction dW, which is x @ dW"
    result = dense(np.zeros, (*batch, K, K * J), x.dtype, instead)
    diagonal = result.reshape(*batch, K * K, J)[..., :: K + 1, :]
    diagonal[...] = x[..., np.newaxis, :]
    return result


@overload
def softmax_layer_jacobian(
    s: NDArray[F], x: NDArray[F], *, out: NDArray[F] | None = None
) -> NDArray[F]: ...
@overload
def softmax_layer_jacobian(s: ArrayLike, x: ArrayLike, *, out: Array | None = None) -> Array: ...
@public
def softmax_layer_jacobian(s: ArrayLike, x: ArrayLike, *, out: Array | None = None) -> Array:
    r"""Compute the Jacobian matrix of a softmax layer by its weights.

    Parameters
    ----------
    s : array_like, shape (K,) or (..., K)
        What `softmax_layer` returned.
    x : array_like, shape (J,) or (..., J)
        What it was given.
    out : ndarray, optional
        Where to write the result, of its shape and dtype.

    Returns
    -------
    ndarray, shape (K, K*J) or (..., K, K*J)
        Row t is output t; column ``i*J + j`` is the weight ``W[j, i]``. `out` if given.

    Raises
    ------
    TypeError
        If an argument is not real, or `out` of another dtype.
    ValueError
        If an argument or `out` has the wrong shape, or `out` cannot be written.
    MemoryError
        If the matrices cannot be held. Nothing is written then.

    See Also
    --------
    SoftmaxLayerJacobian : The same as a linear operator, without the matrix.
    softmax_layer_vjp : Its product with a gradient, without the matrix.
    linear_weight_jacobian : The factor by which it differs from `softmax_jacobian`.

    Notes
    -----
    .. math:: \frac{\partial s_t}{\partial W_{ji}} = s_t (\delta_{it} - s_i)\, x_j,

    which is the product ``softmax_jacobian(s) @ linear_weight_jacobian(x, K)`` without its zeros
    (E. Bendersky, "The Softmax function and its derivative", 2016).

    Every column sums to zero over the outputs t, because the outputs sum to one whatever the
    weights are. A constant upstream gradient therefore changes no weight: one needs that of a
    loss.

    Examples
    --------
    >>> from smcore import softmax_layer, softmax_layer_jacobian
    >>> x, W = [1.0, 2.0], [[0.0, 1.0], [0.0, 1.0]]
    >>> softmax_layer_jacobian(softmax_layer(x, W), x).round(4)
    array([[ 0.0452,  0.0904, -0.0452, -0.0904],
           [-0.0452, -0.0904,  0.0452,  0.0904]])
    """
    s, x = as_floats(s=s, x=x)
    check_layer_rows(s, x)
    K, J = s.shape[-1], x.shape[-1]
    instead = "SoftmaxLayerJacobian(s, x), or the products softmax_layer_vjp and softmax_layer_jvp"
    result = as_matrices(out, s, (*s.shape[:-1], K, K * J), instead)
    if result.size:
        kernel = kernels(s.dtype).softmax_layer_jacobian
        s, x = apart(s, result), apart(x, result)
        kernel(as_rows(s), as_rows(x), result.reshape(-1, K, K * J))
    return deliver(result, out)
