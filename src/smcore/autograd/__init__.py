"""The functions of `smcore` for autograd, which differentiates them forward and in reverse, twice.

They take and return what autograd's NumPy does. Each derivative is one of smcore's own products
with what the forward pass returned, so that the tail of a sure prediction is kept in it; second
derivatives are made of them, too.

Examples
--------
>>> import autograd.numpy as np
>>> from autograd import elementwise_grad, grad
>>> from smcore.autograd import cross_entropy, softmax
>>> x = np.array([[0.0, 50.0]])
>>> [f"{number:.3g}" for number in grad(cross_entropy)(x, [1])[0]]
['1.93e-22', '-1.93e-22']
>>> grad(lambda x: np.sum(softmax(x) ** 2))(np.array([1.0, 2.0, 3.0])).round(4)
array([-0.0757, -0.1301,  0.2058])
"""

try:
    import autograd  # noqa: F401
except ModuleNotFoundError as _error:
    raise ImportError(
        "smcore.autograd needs autograd: pip install 'softmax-core[autograd]'"
    ) from _error

from ._logsumexp import logsumexp
from ._losses import cross_entropy, linear_cross_entropy
from ._softmax import log_softmax, softmax

__all__ = ["cross_entropy", "linear_cross_entropy", "log_softmax", "logsumexp", "softmax"]
