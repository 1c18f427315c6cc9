"""Softmax, its derivatives and its losses for NumPy arrays.

Everything works along ``axis=-1`` unless told otherwise, and every derivative takes what the
forward pass returned: `s` is always a softmax, `x` an input, `g` an upstream gradient, `v` a
tangent.

Examples
--------
>>> import smcore
>>> s = smcore.softmax([1.0, 2.0, 3.0])
>>> smcore.softmax_vjp(s, [1.0, 0.0, 0.0]).round(4)
array([ 0.0819, -0.022 , -0.0599])
"""

from ._config import (
    backend,
    get_include,
    get_num_threads,
    set_num_threads,
    show_config,
    targets,
    use_target,
)
from ._cross_entropy import cross_entropy, cross_entropy_with_grad
from ._hessians import cross_entropy_hvp
from ._jacobians import log_softmax_jacobian, softmax_jacobian
from ._layer import linear_weight_jacobian, softmax_layer, softmax_layer_jacobian
from ._layer_products import softmax_layer_jvp, softmax_layer_vjp
from ._linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_with_grad
from ._linear_hessians import linear_cross_entropy_hvp
from ._logsumexp import logsumexp, logsumexp_vjp
from ._operators import SoftmaxJacobian, SoftmaxLayerJacobian
from ._products import log_softmax_jvp, log_softmax_vjp, softmax_jvp, softmax_vjp
from ._softmax import log_softmax, softmax
from ._streaming import (
    logsumexp_finalize,
    logsumexp_merge,
    logsumexp_partial,
    softmax_from_lse,
)
from ._version import __version__

__all__ = [
    "SoftmaxJacobian",
    "SoftmaxLayerJacobian",
    "__version__",
    "backend",
    "cross_entropy",
    "cross_entropy_hvp",
    "cross_entropy_with_grad",
    "get_include",
    "get_num_threads",
    "linear_cross_entropy",
    "linear_cross_entropy_hvp",
    "linear_cross_entropy_with_grad",
    "linear_weight_jacobian",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_finalize",
    "logsumexp_merge",
    "logsumexp_partial",
    "logsumexp_vjp",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_from_lse",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_layer",
    "softmax_layer_jacobian",
    "softmax_layer_jvp",
    "softmax_layer_vjp",
    "softmax_vjp",
    "targets",
    "use_target",
]
