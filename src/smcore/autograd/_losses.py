"""Cross-entropy, of logits and of a layer's input."""

from __future__ import annotations

from typing import Any, SupportsIndex

import autograd.numpy as anp
import numpy as np
from autograd.core import make_jvp, make_vjp
from autograd.extend import defjvp, defvjp, primitive
from autograd.tracer import isbox
from numpy.typing import ArrayLike

import smcore

from .._arrays import Array, Axis, Mask, Real
from .._criterion import Reduction
from .._rows import Rows
from .._target import as_sample_weights
from ._shared import kept, kept_sum, only, value

__all__ = ["cross_entropy", "linear_cross_entropy"]


class _Gradients:
    """Where the forward pass of a loss leaves its gradients, and what both are told besides."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.found: Any = None  # of the loss's derivatives


def cross_entropy(
    x: Any,
    target: ArrayLike,
    *,
    axis: Axis = -1,
    where: Any = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
) -> Any:
    """Compute the cross-entropy between the softmax of logits and a target.

    It is differentiated by the logits, once or twice. Where they are traced, one pass computes the
    loss and its gradient.

    Parameters
    ----------
    x : array_like
        The logits, K classes along `axis`.
    target : array_like
        Either labels 0 to K-1, integers of any width, in the shape of `x` without `axis`; or
        probabilities, floats in the shape of `x`.
    axis, where, weight, sample_weight, ignore_index, reduction, label_smoothing, z_loss
        As `smcore.cross_entropy` takes them.

    Returns
    -------
    scalar or ndarray
        The loss, in the dtype of `x`: one number, or with ``reduction="none"`` one for each row.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `smcore.cross_entropy` says.
    NotImplementedError
        If `target`, `weight` or `sample_weight` is traced: there is no derivative by them.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from autograd import grad, hessian
    >>> from smcore.autograd import cross_entropy
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> grad(cross_entropy)(x, 2).round(4)
    array([ 0.09  ,  0.2447, -0.3348])
    >>> hessian(cross_entropy)(x, 2).round(4)
    array([[ 0.0819, -0.022 , -0.0599],
           [-0.022 ,  0.1848, -0.1628],
           [-0.0599, -0.1628,  0.2227]])
    """
    gradients = _Gradients(
        axis=axis,
        where=where,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    _refuse_traced(target=target, weight=weight, sample_weight=sample_weight)
    if not isbox(x):
        return smcore.cross_entropy(x, target, **gradients.options)
    return _loss(x, target, gradients)


def _refuse_traced(**constants: Any) -> None:
    for name, given in constants.items():
        if isbox(given):
            raise NotImplementedError(
                f"smcore.autograd has no derivative by {name}; pass autograd.tracer.getval({name})"
            )


def _raw_loss(x: Any, target: ArrayLike, gradients: _Gradients) -> Any:
    loss, gradients.found = smcore.cross_entropy_with_grad(x, target, **gradients.options)
    return loss


def _raw_gradient(x: Any, target: ArrayLike, gradients: _Gradients) -> Any:
    return gradients.found


def _raw_hvp(x: Any, v: Any, target: ArrayLike, gradients: _Gradients) -> Any:
    options = {**gradients.options}
    axis, where, z_loss = options["axis"], options["where"], options.pop("z_loss")
    s = smcore.softmax(x, axis, where=where)
    product = smcore.cross_entropy_hvp(s, v, target, **options)
    if not z_loss:
        return product
    lse = smcore.logsumexp(x, axis, where=where, keepdims=True)
    moved = smcore.softmax_vjp(s, v, axis, where=where) * lse
    moved += s * kept_sum(s * only(v, where), axis)
    shares = _shares_of_rows(x, target, options)
    return product + only(2 * z_loss * np.where(shares > 0, shares * moved, 0), where)


def _shares_of_rows(x: Array, target: ArrayLike, options: dict[str, Any]) -> Array:
    """Return what the z-loss of each row is multiplied by in the loss: 0 if it does not count."""
    rows, is_mean = Rows(x.shape, options["axis"]), options["reduction"] == "mean"
    sample_weight = options["sample_weight"]
    shares = as_sample_weights(
        1.0 if sample_weight is None else sample_weight, rows, x.dtype, is_mean
    )
    labels, divisors = np.asarray(target), shares
    if labels.dtype.kind in "iu":
        counted: Mask = labels != options["ignore_index"]
        divisors = shares = np.where(counted, shares, 0)
        if options["weight"] is not None:
            divisors = shares * np.asarray(options["weight"])[np.where(counted, labels, 0)]
    shares = shares.reshape(rows.kept)
    return shares / (divisors.sum() or 1) if is_mean else shares


_loss = primitive(_raw_loss)
_gradient = primitive(_raw_gradient)
_hvp = primitive(_raw_hvp)


def _loss_vjp(y: Any, x: Any, target: ArrayLike, gradients: _Gradients) -> Any:
    axis = gradients.options["axis"]

    def vjp(g: Any) -> Any:
        g = g if anp.ndim(g) == 0 else kept(g, x, axis)
        return g * _gradient(x, target, gradients)

    return vjp


def _loss_jvp(v: Any, y: Any, x: Any, target: ArrayLike, gradients: _Gradients) -> Any:
    by_row = gradients.options["reduction"] == "none"
    axis = gradients.options["axis"] if by_row else None
    return anp.sum(_gradient(x, target, gradients) * v, axis=axis)


defvjp(_loss, _loss_vjp)
defjvp(_loss, _loss_jvp)
defvjp(_gradient, lambda y, x, target, how: lambda g: _hvp(x, g, target, how))
defjvp(_gradient, lambda v, y, x, target, how: _hvp(x, v, target, how))
defvjp(_hvp, lambda y, x, v, target, how: lambda g: _hvp(x, g, target, how), argnums=(1,))
defjvp(_hvp, lambda t, y, x, v, target, how: _hvp(x, t, target, how), argnums=(1,))


def linear_cross_entropy(
    X: Any,
    W: Any,
    target: ArrayLike,
    b: Any = None,
    *,
    where: Any = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    block_bytes: SupportsIndex | None = None,
) -> Any:
    """Compute the cross-entropy of a softmax layer, from its input: of the logits ``X @ W + b``.

    It is differentiated by `X`, `W` and `b`, once or twice. The loss and its gradients are computed
    in one pass, which holds the logits of a block of rows only; second derivatives hold them all.

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
    where, weight, sample_weight, ignore_index, reduction, label_smoothing, z_loss, block_bytes
        As `smcore.linear_cross_entropy` takes them. With ``reduction="none"``, the derivatives
        take a second pass, by the logits.

    Returns
    -------
    scalar or ndarray
        The loss: one number, or with ``reduction="none"`` one for each row.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `smcore.linear_cross_entropy` and `cross_entropy` say.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from autograd import grad
    >>> from smcore.autograd import linear_cross_entropy
    >>> X, W = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    >>> grad(linear_cross_entropy, 1)(X, W, [1]).round(4)
    array([[ 0.0474, -0.0474],
           [ 0.0949, -0.0949]])
    """
    gradients = _Gradients(
        where=where,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    _refuse_traced(target=target, weight=weight, sample_weight=sample_weight)
    if any(map(isbox, (X, W, b))):
        if reduction == "none":  # each row has an upstream gradient of its own
            return _layer_loss(X, W, b, target, gradients)
        return _linear_loss(X, W, b, target, gradients, block_bytes)
    return smcore.linear_cross_entropy(
        X, W, target, b, block_bytes=block_bytes, **gradients.options
    )


def _layer_loss(X: Any, W: Any, b: Any, target: ArrayLike, gradients: _Gradients) -> Any:
    """Return the same, of logits that are held."""
    z = anp.dot(X, W) if b is None else anp.dot(X, W) + b
    return cross_entropy(z, target, **gradients.options)


def _raw_linear_loss(
    X: Any, W: Any, b: Any, target: ArrayLike, gradients: _Gradients, block_bytes: Any
) -> Any:
    loss, gradients.found = smcore.linear_cross_entropy_with_grad(
        X, W, target, b, block_bytes=block_bytes, **gradients.options
    )
    return loss


def _raw_linear_gradient(
    X: Any, W: Any, b: Any, target: ArrayLike, gradients: _Gradients, which: int
) -> Any:
    return gradients.found[which]


_linear_loss = primitive(_raw_linear_loss)
_linear_gradient = primitive(_raw_linear_gradient)


def _held_gradient(
    X: Any, W: Any, b: Any, target: ArrayLike, gradients: _Gradients, which: int
) -> Any:
    """Return one of the gradients, by functions that autograd can differentiate."""
    layer = [X, W, b]

    def loss(operand: Any) -> Any:
        moved = [*layer[:which], operand, *layer[which + 1 :]]
        return _layer_loss(moved[0], moved[1], moved[2], target, gradients)

    vjp, end = make_vjp(loss, layer[which])
    return vjp(anp.ones_like(value(end)))


def _linear_vjp(which: int) -> Any:
    def maker(y: Any, X: Any, W: Any, b: Any, target: Any, gradients: _Gradients, _: Any) -> Any:
        return lambda g: g * _linear_gradient(X, W, b, target, gradients, which)

    return maker


def _linear_jvp(which: int) -> Any:
    def jvp(
        v: Any, y: Any, X: Any, W: Any, b: Any, target: Any, gradients: _Gradients, _: Any
    ) -> Any:
        return anp.sum(_linear_gradient(X, W, b, target, gradients, which) * v)

    return jvp


def _second_vjp(by: int) -> Any:
    def maker(y: Any, *arguments: Any) -> Any:
        moved = _gradient_of_operand(arguments, by)
        return lambda u: make_vjp(moved, arguments[by])[0](u)

    return maker


def _second_jvp(by: int) -> Any:
    def jvp(v: Any, y: Any, *arguments: Any) -> Any:
        return make_jvp(_gradient_of_operand(arguments, by), arguments[by])(v)[1]

    return jvp


def _gradient_of_operand(arguments: tuple[Any, ...], by: int) -> Any:
    held: Any = _held_gradient
    return lambda operand: held(*arguments[:by], operand, *arguments[by + 1 :])


defvjp(_linear_loss, *map(_linear_vjp, range(3)))
defjvp(_linear_loss, *map(_linear_jvp, range(3)))
defvjp(_linear_gradient, *map(_second_vjp, range(3)))
defjvp(_linear_gradient, *map(_second_jvp, range(3)))
