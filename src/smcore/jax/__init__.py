"""The functions of `smcore` for JAX on the CPU: `jit`, `grad`, `jvp`, `hessian`, `vmap`, composed.

They take and return JAX arrays, in JAX's dtypes. Each derivative is one of smcore's own products
with what the forward pass returned, so that the tail of a sure prediction is kept in it; second
derivatives are made of them, too.

Where smcore was compiled with JAX at hand, XLA calls its kernels itself (`uses_ffi`); elsewhere it
calls them by way of Python.

Examples
--------
>>> import jax
>>> import jax.numpy as jnp
>>> import numpy as np
>>> from smcore.jax import cross_entropy, softmax
>>> x = jnp.array([[0.0, 50.0]])
>>> [f"{number:.3g}" for number in jax.grad(cross_entropy)(x, jnp.array([1]))[0]]
['1.93e-22', '-1.93e-22']
>>> np.asarray(jax.jit(jax.vmap(softmax, in_axes=1))(jnp.zeros((3, 2)))).round(4)
array([[0.3333, 0.3333, 0.3333],
       [0.3333, 0.3333, 0.3333]], dtype=float32)
"""

try:
    import jax  # noqa: F401
except ModuleNotFoundError as _error:
    raise ImportError("smcore.jax needs JAX: pip install 'softmax-core[jax]'") from _error

from ._kernels import uses_ffi
from ._logsumexp import logsumexp
from ._losses import cross_entropy, linear_cross_entropy
from ._softmax import log_softmax, softmax

__all__ = [
    "cross_entropy",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "softmax",
    "uses_ffi",
]
