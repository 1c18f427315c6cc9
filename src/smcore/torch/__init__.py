"""The functions of `smcore` for PyTorch's tensors on the CPU: differentiable, compiled, mapped.

`softmax`, `log_softmax`, `logsumexp`, `cross_entropy` and `linear_cross_entropy` have the names,
arguments and accuracy of those in `smcore`; the axis may be called `dim`, too. A tensor is read
where it lies, and a result is a tensor on the memory that the kernel wrote: nothing is copied.

They may be differentiated as often as wanted, called under ``torch.compile(fullgraph=True)`` and
``torch.export``, in ``torch.func.grad`` and ``torch.vmap``, and on meta tensors. Tensors of another
device are refused: there, PyTorch's own functions serve.

Examples
--------
>>> import torch
>>> import smcore.torch
>>> x = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
>>> smcore.torch.softmax(x, dim=-1)
tensor([[0.0900, 0.2447, 0.6652]], grad_fn=<softmaxBackward>)
>>> smcore.torch.cross_entropy(x, torch.tensor([2])).backward()
>>> x.grad
tensor([[ 0.0900,  0.2447, -0.3348]])
"""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as _error:
    raise ImportError(
        "smcore.torch needs PyTorch 2.6 or newer; install it (pip install torch), "
        "or softmax-core with its extra [torch]"
    ) from _error

from ._cross_entropy import cross_entropy
from ._linear_cross_entropy import linear_cross_entropy
from ._logsumexp import logsumexp
from ._softmax import log_softmax, softmax

__all__ = ["cross_entropy", "linear_cross_entropy", "log_softmax", "logsumexp", "softmax"]
