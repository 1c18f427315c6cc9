"""The operations that can be measured: what each takes, what it makes, what bounds it.

To add one: a line here, its arrays in `operands` if they are new ones, and its function in each of
`peers` that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes
    ----------
    operands : tuple of str
        The arrays that it takes, by the names of `operands.make_operands`, in smcore's order.
    limits : tuple of str
        What the work cannot do without, by the names of `limits.make_limits`.
    products : tuple of str
        The matrix products of ``matmul``: ``Z`` is that of input and weights, ``dX`` and ``dW``
        are the ones that carry a gradient by Z back.
    layer : bool
        Whether the shape of a cell is ``(J, K)`` or ``(N, J, K)`` rather than that of the logits.
    jacobian : bool
        Whether the result has K entries for each of the softmax (times J, for a layer).
    reduced : bool
        Whether the result is without the class axis.
    compared : int or None
        How many arrays of the result the peers have as well; None: all.
    """

    operands: tuple[str, ...]
    limits: tuple[str, ...]
    products: tuple[str, ...] = ()
    layer: bool = False
    jacobian: bool = False
    reduced: bool = False
    compared: int | None = None


def _op(operands: str, limits: str, *, products: str = "", **options: Any) -> Op:
    """Make an `Op` from names in one string."""
    operand_names, limit_names, product_names = (
        tuple(names.split()) for names in (operands, limits, products)
    )
    return Op(operand_names, limit_names, product_names, **options)


OPS = {
    "softmax": _op("x", "copy exp"),
    "log_softmax": _op("x", "copy exp"),
    "logsumexp": _op("x", "exp", reduced=True),
    "softmax_vjp": _op("s g", "multiply"),
    "log_softmax_vjp": _op("log_s g", "multiply exp"),
    "log_softmax_jvp": _op("log_s v", "multiply exp"),
    "logsumexp_vjp": _op("x lse g_lse", "copy exp"),
    "softmax_from_lse": _op("x lse", "copy exp"),
    "logsumexp_partial": _op("x", "exp", reduced=True, compared=1),
    "logsumexp_merge": _op("m rest m2 rest2", "exp", reduced=True, compared=1),
    "softmax_jacobian": _op("s", "fill", jacobian=True),
    "log_softmax_jacobian": _op("log_s", "fill", jacobian=True),
    "SoftmaxJacobian.matvec": _op("s v", "multiply"),
    "softmax_layer": _op("X W b", "matmul exp", products="Z", layer=True),
    "softmax_layer_jacobian": _op("s X", "fill", layer=True, jacobian=True),
    "softmax_layer_vjp": _op("s X W g", "matmul", products="dW dX", layer=True),
    "softmax_layer_jvp": _op("s X W dW db dX", "matmul", products="Z Z", layer=True),
    "cross_entropy": _op("x y", "exp"),
    "cross_entropy_with_grad": _op("x y", "copy exp"),
    "cross_entropy_hvp": _op("s v", "multiply"),
    "linear_cross_entropy": _op("X W y b", "matmul exp", products="Z", layer=True),
    "linear_cross_entropy_with_grad": _op("X W y b", "matmul exp", products="Z dX dW", layer=True),
    "linear_cross_entropy_hvp": _op("X W dW b db", "matmul exp", products="Z Z dW", layer=True),
}
