"""Products with the Jacobian of a softmax layer, forward and backward."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, overload

from numpy.typing import ArrayLike, NDArray

from ._arrays import (
    Array,
    F,
    as_floats,
    as_like,
    cast,
    check_shape,
    widened,
)
from ._calls import public
from ._linear import (
    as_gradients,
    check_layer,
    linear_jvp,
    linear_vjp,
)
from ._products import softmax_jvp, softmax_vjp

__all__ = ["softmax_layer_jvp", "softmax_layer_vjp"]


@overload
def softmax_layer_vjp(
    s: NDArray[F], x: NDArray[F], W: NDArray[F], g: NDArray[F] | float
) -> tuple[NDArray[F], NDArray[F], NDArray[F]]: ...
@overload
def softmax_layer_vjp(
    s: ArrayLike, x: ArrayLike, W: ArrayLike, g: ArrayLike
) -> tuple[Array, Array, Array]: ...
@overload
def softmax_layer_vjp(
    s: ArrayLike, x: ArrayLike, W: ArrayLike, g: ArrayLike, *, wrt: Iterable[str]
) -> tuple[Any, Any, Any]: ...
@public
def softmax_layer_vjp(
    s: ArrayLike, x: ArrayLike, W: ArrayLike, g: ArrayLike, *, wrt: Iterable[str] = "Wbx"
) -> tuple[Any, Any, Any]:
    r"""Carry an upstream gradient back through a softmax layer.

    Parameters
    ----------
    s : array_like, shape (K,) or (..., K)
        What `softmax_layer` returned.
    x : array_like, shape (J,) or (..., J)
        What it was given.
    W : array_like, shape (J, K)
        The weights.
    g : array_like
        The gradient of a scalar by `s`, of its shape or broadcastable to it.
    wrt : str or iterable of str, default "Wbx"
        The names of the gradients that are wanted, among "W", "b" and "x". None is returned in the
        place of others, which are not computed.

    Returns
    -------
    dW : ndarray, shape (J, K)
        The gradient by the weights, summed over the batch.
    db : ndarray, shape (K,)
        The gradient by the bias, summed over the batch.
    dx : ndarray, shape (J,) or (..., J)
        The gradient by the inputs.

    Raises
    ------
    TypeError
        If an argument is not real.
    ValueError
        If an argument has the wrong shape, or `wrt` names anything else.

    See Also
    --------
    softmax_layer : The forward pass.
    softmax_vjp : The softmax alone.

    Notes
    -----
    With :math:`\delta = s \circ (g - g^T s)` for each row,

    .. math:: dW = x^T \delta, \qquad db = \textstyle\sum_n \delta_n, \qquad dx = \delta W^T.

    A constant `g` gives zero throughout: the columns of `softmax_layer_jacobian` sum to zero over
    the outputs, because the outputs sum to one whatever the weights are.

    Examples
    --------
    >>> from smcore import softmax_layer, softmax_layer_vjp
    >>> x, W = [1.0, 2.0], [[0.0, 1.0], [0.0, 1.0]]
    >>> dW, db, dx = softmax_layer_vjp(softmax_layer(x, W), x, W, [1.0, 0.0])
    >>> dW.round(4)
    array([[ 0.0452, -0.0452],
           [ 0.0904, -0.0904]])
    >>> db.round(4), dx.round(4)
    (array([ 0.0452, -0.0452]), array([-0.0452, -0.0452]))
    """
    s, x, W, g = as_floats(s=s, x=x, W=W, g=g)
    check_layer(x, W)
    check_shape(s, (*x.shape[:-1], W.shape[1]), "s")
    wanted = as_gradients(wrt, "Wbx")
    dtype = x.dtype
    s, x, W, g = widened(s, x, W, as_like(g, s.shape, "g"))
    return linear_vjp(x, W, softmax_vjp(s, g), dtype, wanted)


@overload
def softmax_layer_jvp(
    s: NDArray[F],
    x: NDArray[F],
    W: NDArray[F],
    dW: NDArray[F] | None = None,
    db: NDArray[F] | None = None,
    dx: NDArray[F] | None = None,
) -> NDArray[F]: ...
@overload
def softmax_layer_jvp(
    s: ArrayLike,
    x: ArrayLike,
    W: ArrayLike,
    dW: ArrayLike | None = None,
    db: ArrayLike | None = None,
    dx: ArrayLike | None = None,
) -> Array: ...
@public
def softmax_layer_jvp(
    s: ArrayLike,
    x: ArrayLike,
    W: ArrayLike,
    dW: ArrayLike | None = None,
    db: ArrayLike | None = None,
    dx: ArrayLike | None = None,
) -> Array:
    r"""Compute how the output of a softmax layer moves with its weights, bias and input.

    Parameters
    ----------
    s : array_like, shape (K,) or (..., K)
        What `softmax_layer` returned.
    x : array_like, shape (J,) or (..., J)
        What it was given.
    W : array_like, shape (J, K)
        The weights.
    dW : array_like, shape (J, K), optional
        The direction in which the weights move. None: they do not.
    db : array_like, shape (K,), optional
        The direction in which the bias moves.
    dx : array_like, shape (J,) or (..., J), optional
        The direction in which the inputs move.

    Returns
    -------
    ndarray, shape (K,) or (..., K)
        The direction in which `s` moves. It sums to zero over the outputs, as do the columns of
        `softmax_layer_jacobian`: the outputs sum to one whatever the weights are.

    Raises
    ------
    TypeError
        If an argument is not real.
    ValueError
        If an argument has the wrong shape.

    See Also
    --------
    softmax_layer_vjp : The backward pass.
    softmax_jvp : The softmax alone.

    Notes
    -----
    .. math:: \dot s = \bigl(\operatorname{diag}(s) - s s^T\bigr) \dot z, \qquad
              \dot z = x\, dW + db + dx\, W.

    Examples
    --------
    >>> from smcore import softmax_layer, softmax_layer_jvp
    >>> x, W = [1.0, 2.0], [[0.0, 1.0], [0.0, 1.0]]
    >>> softmax_layer_jvp(softmax_layer(x, W), x, W, db=[1.0, 0.0]).round(4)
    array([ 0.0452, -0.0452])
    """
    s, x, W, dW, db, dx = as_floats(("dW", "db", "dx"), s=s, x=x, W=W, dW=dW, db=db, dx=dx)
    check_layer(x, W, db, b_name="db")
    check_shape(s, (*x.shape[:-1], W.shape[1]), "s")
    if dW is not None:
        check_shape(dW, W.shape, "dW")
    if dx is not None:
        check_shape(dx, x.shape, "dx")

    dtype = x.dtype
    s, x, W, dW, db, dx = widened(s, x, W, dW, db, dx)
    dz = linear_jvp(x, W, dW, db, dx)
    return cast(softmax_jvp(s, dz, out=dz), dtype)
