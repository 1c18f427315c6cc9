"""The backend in pure NumPy: the names and signatures of ``_core``, for places without a compiler.

It keeps the same promises of accuracy as the kernels in C and is one of the oracles they are
tested against; speed comes second.  Every algorithm is written once, for numbers of the class
`Extended`, which carry more digits than the dtype of the result:

* float16, bfloat16 and float32 are computed in float64, whose 29 spare bits absorb every rounding;
* float64 and longdouble are computed as pairs ``hi + lo``, where ``lo`` collects the rounding
  errors of ``hi``.  What remains is the error of NumPy's ``exp`` or ``log1p`` and one rounding,
  some 2 ulp in all.  (Double-double longdouble, on some PowerPC systems, has no such promise.)

With ``k`` one position of the row's maximum and ``e = exp(scale * (x - x[k]))``, everything is
built from ``e``, ``e[k] = 1`` and the *tail*, the sum of the others, which is summed without the
peak: ``tail / (1 + tail)`` keeps its digits where ``1 - s[k]`` has none left.

All functions take checked arrays: one dtype, rows along the last axis, outputs preallocated.  An
output may be the very memory of an input, for each block of rows is read before it is written.
"""

from .forward import log_softmax, logsumexp, logsumexp_partial, softmax
from .jacobians import log_softmax_jacobian, softmax_jacobian, softmax_layer_jacobian
from .losses import cross_entropy
from .merge import logsumexp_merge
from .products import log_softmax_jvp, log_softmax_vjp, logsumexp_vjp, softmax_vjp
from .settings import (
    NAME,
    active_target,
    compiler,
    fast_path,
    get_num_threads,
    set_num_threads,
    set_target,
    targets,
)

__all__ = [
    "NAME",
    "active_target",
    "compiler",
    "cross_entropy",
    "fast_path",
    "get_num_threads",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_merge",
    "logsumexp_partial",
    "logsumexp_vjp",
    "set_num_threads",
    "set_target",
    "softmax",
    "softmax_jacobian",
    "softmax_layer_jacobian",
    "softmax_vjp",
    "targets",
]
