"""An operation on tensors: defined once, for calls at once and for graphs.

PyTorch's dispatcher knows each as ``torch.ops.smcore.NAME``. All transformations go through it:
``torch.compile``, ``torch.func``, FakeTensor, modes and subclasses. A call on plain tensors needs
none of that, and it costs more than a small array does: such a call runs the kernel itself, in an
``autograd.Function`` where a gradient is wanted. Kernel and formulas are the same on both ways.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

__all__ = ["Operation", "by_rows", "like_first", "one_by_one", "plain", "with_batch_in_front"]

_library = torch.library.Library("smcore", "DEF")
_PLAIN = frozenset((torch.Tensor, torch.nn.Parameter))
_key, _keys = torch._C.DispatchKey, torch._C.DispatchKeySet
# What the dispatcher listens to by itself: always, and but in torch.inference_mode.
_QUIET = frozenset(
    keys.raw_repr()
    for keys in (
        _keys(_key.BackendSelect) | _keys(_key.ADInplaceOrView),
        _keys(_key.BackendSelect),
    )
)


class Operation:
    """An operation on tensors.

    Parameters
    ----------
    signature : str
        Its name and schema, as ``torch.library`` writes them. Tensors come first.
    kernel : callable
        The operation itself, on plain tensors of the CPU; returns new tensors.
    fake : callable
        Returns tensors of the results' shapes and dtypes, from arguments without numbers.
    batch : callable
        Its rule for ``torch.vmap``: of the operation, a batch's info, axes and arguments, returns
        results and axes.
    setup, backward : callable
        As ``torch.library.register_autograd`` has them; the gradients of the first arguments will
        do.
    """

    def __init__(
        self,
        signature: str,
        kernel: Callable[..., Any],
        fake: Callable[..., Any],
        batch: Callable[..., Any],
        setup: Callable[..., None],
        backward: Callable[..., tuple[Any, ...]],
    ) -> None:
        name = _library.define(signature)
        qualified = f"smcore::{name}"
        self._op = getattr(torch.ops.smcore, name).default
        self._kernel = kernel
        arguments = self._op._schema.arguments
        self.tensors = sum("Tensor" in str(argument.type) for argument in arguments)

        def gradients(ctx: Any, *grads: Any) -> tuple[Any, ...]:
            found = backward(ctx, *grads)
            return (*found, *[None] * (len(arguments) - len(found)))

        def forward(ctx: Any, *args: Any) -> Any:
            output = kernel(*args)
            setup(ctx, args, output)
            return output

        _library.impl(name, kernel, "CPU")
        torch.library.register_fake(qualified, fake, lib=_library)
        torch.library.register_autograd(qualified, gradients, setup_context=setup, lib=_library)
        torch.library.register_vmap(qualified, functools.partial(batch, self), lib=_library)
        self._function = _function(name, forward=forward, backward=gradients)
        self._transformed = _function(
            name,
            forward=lambda *args: self._op(*args),
            setup_context=setup,
            backward=gradients,
            vmap=functools.partial(batch, self),
        )

    def __call__(self, *args: Any) -> Any:
        """Call the operation, in the way that suits the tensors."""
        tensors = args[: self.tensors]
        if torch.compiler.is_compiling():
            return self._op(*args)
        if not plain(*tensors):
            functorch = torch._C._are_functorch_transforms_active()
            return self._transformed.apply(*args) if functorch else self._op(*args)
        if forward_ad._current_level >= 0 or (torch.is_grad_enabled() and _differentiable(tensors)):
            return self._function.apply(*args)
        return self._kernel(*args)


def _function(name: str, **methods: Callable[..., Any]) -> Any:
    """Return an ``autograd.Function`` of these methods."""

    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise NotImplementedError(
            f"smcore.torch.{name} has no derivative in forward mode; use reverse mode, such as "
            "torch.func.jacrev in place of jacfwd and hessian"
        )

    known = {key: staticmethod(method) for key, method in (methods | {"jvp": jvp}).items()}
    return type(name, (torch.autograd.Function,), known)


def plain(*tensors: Any) -> bool:
    """Return whether nothing but the CPU's kernel would see these tensors.

    Whatever listens to calls, a transformation or a mode, is among the dispatcher's keys.
    """
    if torch.compiler.is_compiling():
        return False
    if torch._C._dispatch_tls_local_include_set().raw_repr() not in _QUIET:
        return False
    for t in tensors:  # noqa: SIM110 - all() takes twice as long
        if t is not None and not (type(t) in _PLAIN and t.is_cpu):
            return False
    return True


def _differentiable(tensors: tuple[Any, ...]) -> bool:
    for t in tensors:  # noqa: SIM110
        if t is not None and t.requires_grad:
            return True
    return False


def like_first(first: Any, *_: Any) -> Any:
    """Return what stands for a result in the shape of the first argument."""
    return torch.empty_like(first, memory_format=torch.contiguous_format)


# ---- rules for torch.vmap ----------------------------------------------------------------------


def by_rows(operation: Operation, info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
    """Make the batch one axis more in front, for operations that work along axes from the end.

    The tensors of such an operation broadcast against the first of them.
    """
    ndim = args[0].ndim - (in_dims[0] is not None)
    found: list[Any] = []
    for tensor, d in zip(args[: operation.tensors], in_dims, strict=False):
        found.append(with_batch_in_front(tensor, d, ndim))
    found[0] = found[0].expand(info.batch_size, *found[0].shape[1:])
    return operation(*found, *args[operation.tensors :]), 0


def with_batch_in_front(tensor: Any, d: int | None, ndim: int) -> Any:
    """Return a tensor that broadcasts against `ndim` axes, and its axis `d` against the batch."""
    if tensor is None:
        return None
    if d is None:
        return tensor.unsqueeze(0)
    tensor = tensor.movedim(d, 0)
    return tensor.reshape(len(tensor), *[1] * (ndim + 1 - tensor.ndim), *tensor.shape[1:])


def one_by_one(operation: Operation, info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
    """Call the operation once for each of a batch, for one of several results."""

    def item(i: int) -> tuple[Any, ...]:
        pairs = zip(args, in_dims, strict=True)  # the axes of what is no tensor have its form
        return tuple(a.select(d, i) if isinstance(d, int) else a for a, d in pairs)

    if info.batch_size:
        results = zip(*(operation(*item(i)) for i in range(info.batch_size)), strict=True)
        stacked = tuple(map(torch.stack, results))
    else:  # as many results, of the same shapes, as of zeros
        pairs = zip(args, in_dims, strict=True)
        zeros = (
            a.new_zeros(a.shape[:d] + a.shape[d + 1 :]) if isinstance(d, int) else a
            for a, d in pairs
        )
        stacked = tuple(r.new_empty((0, *r.shape)) for r in operation(*zeros))
    return stacked, (0,) * len(stacked)
