"""Operations of smcore as primitives of JAX: what they return, who computes it, how vmap goes on.

A primitive works on arrays whose last axes are its own; any axes before them are those of a batch.
Only the CPU is served. There XLA calls the kernels through its foreign function interface, if the
extension for that was compiled, and else Python, which calls the functions of `smcore`.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

import smcore

from .._arrays import Axis

__all__ = [
    "Call",
    "as_inexact",
    "bind",
    "call_native",
    "computed_in",
    "define",
    "static",
    "uses_ffi",
]

Call = Callable[..., Sequence[Any]]  # of arrays, and keywords that are no arrays


def _takes(version: tuple[int, int]) -> bool:
    """Return whether this jaxlib takes handlers compiled for that version of its interface.

    One that does not would refuse to compute anything at all, once they are registered. Its headers
    tell: there is no other way to ask.
    """
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h")
    if not header.exists():
        return False
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header.read_text()))
    major, minor = version
    return int(found["MAJOR"]) == major and int(found["MINOR"]) >= minor


def _register() -> bool:
    """Make the handlers known to XLA; return whether they were compiled, and are wanted."""
    try:
        _ffi = importlib.import_module("smcore.jax._ffi")
    except ModuleNotFoundError:
        return False
    if smcore.backend() != "native" or not _takes(_ffi.version):
        return False
    for name, handler in _ffi.targets().items():
        jax.ffi.register_ffi_target(f"smcore_{name}", handler, platform="cpu")
    return True


_by_ffi = _register()


def uses_ffi() -> bool:
    """Return whether XLA calls smcore's kernels itself, rather than by way of Python.

    Examples
    --------
    >>> from smcore.jax import uses_ffi
    >>> uses_ffi() in (True, False)
    True
    """
    return _by_ffi


def define(name: str, results: Call, host: Call, native: Call | None = None) -> Primitive:
    """Make a primitive of several results.

    Parameters
    ----------
    name : str
        What JAX calls it.
    results : callable
        Returns the shape and dtype of each result, from operands that have these.
    host : callable
        Returns the results from NumPy arrays, with smcore's functions.
    native : callable, optional
        Returns them from what they are to be like, and JAX arrays, by `call_native`; or None, if
        there is no handler for such a call.
    """
    primitive = Primitive(f"smcore_{name}")
    primitive.multiple_results = True

    def compute(*arrays: Any, **options: Any) -> Any:
        expected = [jax.ShapeDtypeStruct(*r) for r in results(*arrays, **options)]
        found = native(expected, *arrays, **options) if _by_ffi and native is not None else None
        if found is not None:
            return found
        run = functools.partial(_on_host, host, **options)
        return jax.pure_callback(run, expected, *arrays, vmap_method="broadcast_all")

    @functools.cache
    def compiled(options: tuple[tuple[str, Any], ...]) -> Any:
        return jax.jit(functools.partial(primitive.bind, **dict(options)))

    def batched(arrays: Sequence[Any], axes: Sequence[int | None], **options: Any) -> Any:
        size = next(a.shape[i] for a, i in zip(arrays, axes, strict=True) if i is not None)
        stacked = [
            jnp.broadcast_to(array, (size, *array.shape))
            if axis is None
            else jnp.moveaxis(array, axis, 0)
            for array, axis in zip(arrays, axes, strict=True)
        ]
        found = primitive.bind(*stacked, **options)
        return found, [0] * len(found)

    primitive.def_impl(lambda *arrays, **options: compiled(tuple(options.items()))(*arrays))
    primitive.def_abstract_eval(
        lambda *arrays, **options: [jax.core.ShapedArray(*r) for r in results(*arrays, **options)]
    )
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, _refuse)
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=True), "cpu")
    return primitive


def call_native(name: str, expected: Sequence[Any], *arrays: Any, **attributes: Any) -> Any:
    """Have XLA call the handler of that name, of _ffi.c."""
    call = jax.ffi.ffi_call(f"smcore_{name}", expected, vmap_method="broadcast_all")
    return call(*arrays, **attributes)


def bind(primitive: Primitive, *arrays: Any, **options: Any) -> Any:
    """Call a primitive that has one result."""
    (found,) = primitive.bind(*arrays, **options)
    return found


def _on_host(host: Call, *arrays: Any, **options: Any) -> list[Any]:
    with np.errstate(all="ignore"):
        return [np.asarray(found) for found in host(*map(np.asarray, arrays), **options)]


def _refuse(context: Any, *arrays: Any, **options: Any) -> Any:
    found = ", ".join(context.module_context.platforms)
    raise NotImplementedError(
        f"smcore.jax computes on the CPU; found arrays, or a function compiled, for {found!r}: "
        "move them by jax.device_put(x, jax.devices('cpu')[0]), or use jax.nn there"
    )


def as_inexact(x: Any, name: str) -> jax.Array:
    """Return the argument as an array of a dtype served; integers in JAX's default float."""
    array = jnp.asarray(x)
    if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool:
        return array.astype(float)
    if array.dtype not in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
        raise TypeError(
            f"{name} must hold float16, bfloat16, float32, float64, integers or booleans; "
            f"found dtype {array.dtype}"
        )
    return array


def static(axis: Axis) -> Axis:
    """Return the argument `axis`, if ``jax.jit`` can know it by its value."""
    if isinstance(axis, list):
        raise TypeError(f"axis must be an integer, a tuple of integers or None; found {axis!r}")
    return axis


def computed_in(dtype: Any) -> Any:
    """Return the dtype that sums over `dtype` are held in."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32
