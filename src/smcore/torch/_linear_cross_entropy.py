"""Cross-entropy of a softmax layer, from its input: the logits are held for a block of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import smcore

from ._cross_entropy import (
    Constants,
    How,
    Reduction,
    checked_constants,
    keywords_of,
    logit_gradient,
    times,
)
from ._operation import Operation, one_by_one
from ._tensors import Tensor, array_of, checked_float, tensor_of

__all__ = ["linear_cross_entropy"]


def linear_cross_entropy(
    X: Tensor,
    W: Tensor,
    target: Tensor,
    b: Tensor | None = None,
    *,
    where: Tensor | None = None,
    weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    return_lse: bool = False,
    block_bytes: int | None = None,
) -> Any:
    """Compute the cross-entropy of a softmax layer, from its input: of the logits ``X @ W + b``.

    The logits are made, judged and turned into gradients for a block of rows at a time, and never
    held whole: where a gradient is required, all are computed together with the loss.

    Parameters
    ----------
    X : torch.Tensor, shape (D,) or (..., D)
        One input, or some along any leading axes.
    W : torch.Tensor, shape (D, K)
        The weights: ``layer.weight.T`` of a ``torch.nn.Linear``.
    target : torch.Tensor
        Either labels 0 to K-1, integers of any width, of the shape of `X` without its last axis; or
        probabilities, floats of the shape of the logits. It must not require a gradient.
    b : torch.Tensor, shape (K,), optional
        The bias.
    where : torch.Tensor of bool, optional
        Which classes take part in each row, broadcastable to the logits.
    weight : torch.Tensor, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    sample_weight : torch.Tensor, optional
        A factor for each row's loss, at least 0: in the shape of `X` without its last
        axis, or broadcastable to it. A row of weight 0 does not count.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses. With "none" the backward pass holds the logits whole.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: ``z_loss * lse**2`` is added to the loss of each row that counts.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too. A backward pass through it holds the
        logits whole.
    block_bytes : int, optional
        How much memory to use besides the results, as in `smcore.linear_cross_entropy`.

    Returns
    -------
    loss : torch.Tensor
        In the dtype of the arguments: a number, or with ``reduction="none"`` one for each row.
    lse : torch.Tensor
        The logsumexp of each row's logits. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If an argument is no tensor where one is wanted, a tensor has the wrong dtype or is not
        dense, or `X`, `W` and `b` differ in dtype.
    ValueError
        If a tensor is not on the CPU, a constant requires a gradient, or an argument has a value or
        a shape that `smcore.linear_cross_entropy` refuses.

    See Also
    --------
    smcore.linear_cross_entropy : The same for arrays.
    cross_entropy : From the logits.

    Notes
    -----
    With ``create_graph=True`` and in ``torch.func.grad`` the backward pass holds the logits whole.

    Examples
    --------
    >>> import torch
    >>> from smcore.torch import linear_cross_entropy
    >>> layer = torch.nn.Linear(2, 3)
    >>> X, y = torch.tensor([[1.0, 2.0]]), torch.tensor([1])
    >>> linear_cross_entropy(X, layer.weight.T, y, layer.bias).backward()
    >>> layer.bias.grad.sum().abs() < 1e-6
    tensor(True)
    """
    floats = [checked_float(X, "X"), checked_float(W, "W")]
    if b is not None:
        floats.append(checked_float(b, "b"))
    if len({tensor.dtype for tensor in floats}) > 1:
        found = ", ".join(str(tensor.dtype) for tensor in floats)
        raise TypeError(f"X, W and b must have one dtype; found {found}")
    shape = (*X.shape[:-1], W.shape[-1])
    constants = checked_constants(shape, (-1,), target, where, weight, sample_weight)
    wrt = ""  # whose gradients are computed with the loss
    if reduction != "none" and torch.is_grad_enabled():
        named = {"X": X, "W": W, "b": b}
        wrt = "".join(name for name, t in named.items() if t is not None and t.requires_grad)
    how = How(ignore_index, reduction, label_smoothing, z_loss)
    loss, lse, *_ = _operation(X, W, b, *constants, *how, block_bytes, wrt)
    return (loss, lse) if return_lse else loss


# ---- the operation -----------------------------------------------------------------------------

_SMALL = (
    1 << 16
)  # weights that are copied if not in rows, as those of a torch.nn.Linear: there is a
# fast path for small layers, and half of the time of larger ones to be gained

_Results = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # loss, logsumexp and gradients


def _parts(rest: tuple[Any, ...]) -> tuple[Constants, How, int | None, str]:
    """Return the arguments of the operation after the layer."""
    *constants, ignore_index, reduction, label_smoothing, z_loss, block_bytes, wrt = rest
    how = How(ignore_index, reduction, label_smoothing, z_loss)
    return Constants(*constants), how, block_bytes, wrt


def _kernel(X: Tensor, W: Tensor, b: Tensor | None, *rest: Any) -> _Results:
    """Return loss, logsumexp of the rows, and gradients, or nothing in the place of those."""
    constants, how, block_bytes, wrt = _parts(rest)
    keywords = keywords_of(constants, how) | {"block_bytes": block_bytes}
    arguments = [array_of(t) for t in (X, W, constants.target, b)]
    if arguments[1].size <= _SMALL:
        arguments[1] = np.ascontiguousarray(arguments[1])
    if not wrt:
        loss, lse = smcore.linear_cross_entropy(*arguments, **keywords)
        return tensor_of(loss), tensor_of(lse), *(X.new_empty(0) for _ in range(3))
    loss, gradients, lse = smcore.linear_cross_entropy_with_grad(*arguments, wrt=wrt, **keywords)
    found = (X.new_empty(0) if g is None else tensor_of(g).contiguous() for g in gradients)
    return tensor_of(loss), tensor_of(lse), *found


def _fake(X: Tensor, W: Tensor, b: Tensor | None, *rest: Any) -> _Results:
    _, how, _, wrt = _parts(rest)
    lead = X.shape[:-1]
    loss = X.new_empty(lead if how.reduction == "none" else ())
    named = {"X": X, "W": W, "b": b}
    gradients = (
        X.new_empty(0) if t is None or name not in wrt else X.new_empty(t.shape)
        for name, t in named.items()
    )
    return loss, X.new_empty(lead), *gradients


def _setup(ctx: Any, inputs: tuple[Any, ...], output: _Results) -> None:
    X, W, b, *rest = inputs
    constants, ctx.how, _, ctx.wrt = _parts(tuple(rest))
    _, *found = output
    ctx.save_for_backward(X, W, b, *constants, *found)
    ctx.mark_non_differentiable(*found[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, g_loss: Tensor | None, g_lse: Tensor | None, *_: None) -> tuple[Any, ...]:
    X, W, b, *constants, lse, dX, dW, db = ctx.saved_tensors
    wanted = ctx.needs_input_grad[:3]
    known = all(name in ctx.wrt for name, needed in zip("XWb", wanted, strict=True) if needed)
    if known and g_loss is not None and g_lse is None and not torch.is_grad_enabled():
        pairs = zip((dX, dW, db), wanted, strict=True)
        return tuple(times(gradient, g_loss) if needed else None for gradient, needed in pairs)
    z = X @ W if b is None else X @ W + b
    dz = logit_gradient(z, Constants(*constants), (-1,), ctx.how, g_loss, g_lse, lse)
    if dz is None:
        return ()
    rows = dz.reshape(-1, dz.shape[-1])
    dX = dz @ W.T if wanted[0] else None
    dW = X.reshape(-1, X.shape[-1]).T @ rows if wanted[1] else None
    return dX, dW, rows.sum(0) if wanted[2] else None


_operation = Operation(
    "linear_cross_entropy(Tensor X, Tensor W, Tensor? b, Tensor target, Tensor? where, "
    "Tensor? weight, Tensor? sample_weight, int ignore_index, str reduction, "
    "float label_smoothing, float z_loss, int? block_bytes, str wrt) "
    "-> (Tensor loss, Tensor lse, Tensor dX, Tensor dW, Tensor db)",
    _kernel,
    _fake,
    one_by_one,
    _setup,
    _backward,
)
