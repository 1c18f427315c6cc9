"""smcore.torch: values, derivatives, transformations and errors, beside PyTorch's own functions."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, jacrev, vjp, vmap
from torch.library import opcheck

import smcore
import smcore.torch as st

F = torch.nn.functional
double = torch.float64
NAMES = ("softmax", "log_softmax", "logsumexp")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
DIMS = (-1, 1, (0, 2), None)
# What a backend of torch.compile may warn of when it is imported is not ours.
compiled = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(7)


def logits(*shape, dtype=double, requires_grad=True):
    return torch.randn(shape, dtype=dtype, requires_grad=requires_grad)


def a_mask(*shape):
    mask = torch.rand(shape) < 0.7
    mask[..., 0] = mask[0] = True
    return mask


def finite(y):
    """What an entry that takes no part has as its logarithm, -inf, no difference can tell."""
    return torch.nan_to_num(y, neginf=0.0)


def peer(name, x, dim):
    dims = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else dim
    lse = torch.logsumexp(x, dims, keepdim=True)
    return {"softmax": (x - lse).exp(), "log_softmax": x - lse, "logsumexp": lse}[name]


# ---- softmax, log_softmax, logsumexp -----------------------------------------------------------


@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_those_of_pytorch(name, dim):
    function, x = getattr(st, name), logits(3, 4, 5)
    keywords = {"keepdims": True} if name == "logsumexp" else {}
    y, theirs = function(x, dim, **keywords), peer(name, x, dim)
    torch.testing.assert_close(y, theirs)
    g = torch.randn_like(y)
    torch.testing.assert_close(*(torch.autograd.grad(z, x, g)[0] for z in (y, theirs)))
    if dim is not None:
        torch.testing.assert_close(function(x, dim=dim, **keywords), y, rtol=0, atol=0)


@pytest.mark.parametrize("where", [False, True], ids=["all", "where"])
@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_two_derivatives_against_differences(name, dim, where):
    mask = a_mask(2, 3, 4) if where else None
    x = logits(2, 3, 4)

    def function(x):
        return finite(getattr(st, name)(x, dim, where=mask))

    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


@pytest.mark.parametrize("shape", [(), (4,), (3, 1), (3, 4, 1)], ids=str)
@pytest.mark.parametrize("name", NAMES[:2])
def test_two_derivatives_by_a_scale(name, shape):
    mask = a_mask(3, 4, 5)
    x = logits(3, 4, 5)
    scale = (torch.rand(shape, dtype=double) + 0.5).requires_grad_()

    def function(x, scale):
        return finite(getattr(st, name)(x, where=mask, scale=scale))

    assert gradcheck(function, (x, scale))
    assert gradgradcheck(function, (x, scale))
    number = function(x, 0.5)
    torch.testing.assert_close(number, function(x, torch.tensor(0.5, dtype=double)))
    assert gradgradcheck(lambda x: function(x, -0.5), (x,))


def test_what_takes_no_part_may_be_anything():
    x = torch.tensor([[1.0, float("nan"), 3.0], [float("inf"), 1.0, 2.0]], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    for name in NAMES[:2]:
        y = finite(getattr(st, name)(x, where=x.isfinite(), scale=scale))
        for g in torch.autograd.grad(y.square().sum(), (x, scale)):
            assert g.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_layouts_and_bits(name, dtype):
    """Results are contiguous, and have the bits of smcore's on the same numbers."""
    if dtype is torch.bfloat16:
        pytest.importorskip("ml_dtypes")
    function = getattr(st, name)
    base = logits(4, 6, 5, dtype=dtype, requires_grad=False)
    for x in (
        base,
        base.transpose(0, 2),
        base[::2, :, 1:],
        base[:1].expand(3, 6, 5),
        base[0, 0, 0],
    ):
        y = function(x)
        assert y.dtype == dtype
        assert y.is_contiguous()
        if dtype is not torch.bfloat16:
            np.testing.assert_array_equal(y.numpy(), getattr(smcore, name)(x.numpy()))
        else:
            torch.testing.assert_close(y, function(x.float()).bfloat16(), rtol=0, atol=0)
        x = x.detach().requires_grad_()
        g = torch.autograd.grad(function(x).sum(), x)[0]
        assert g.dtype == dtype
        assert g.shape == x.shape
    np.testing.assert_array_equal(function(base, dtype=double), function(base.double()))


def test_nothing_is_copied_and_nothing_changed():
    x = logits(1000, 100, requires_grad=False)
    before = x.clone()
    from smcore.torch import _tensors

    assert np.shares_memory(_tensors.array_of(x), x.numpy())
    array = np.ones(3, np.float32)
    assert _tensors.tensor_of(array).data_ptr() == array.ctypes.data
    st.softmax(x)
    assert torch.equal(x, before)


def test_negative_bit_expanded_and_empty():
    x = torch.randn(3, 4, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    torch.testing.assert_close(st.softmax(x), torch.softmax(x, -1))
    assert st.softmax(torch.ones(0, 3)).shape == (0, 3)
    assert st.softmax(torch.ones(3, 0)).shape == (3, 0)
    assert st.logsumexp(torch.ones(3, 0)).tolist() == [-np.inf] * 3
    assert st.softmax(torch.tensor(2.0)).item() == 1.0
    assert st.logsumexp(torch.tensor(2.0), keepdims=True).shape == ()
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    assert type(st.softmax(parameter)) is torch.Tensor


# ---- losses ------------------------------------------------------------------------------------

LABELS = torch.tensor([0, 1, -100, 3, 4, 2])
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5], dtype=double)
SAMPLE = torch.tensor([1.0, 0.5, 1.0, 0.0, 2.0, 1.0], dtype=double)


def soft_labels():
    return torch.softmax(torch.randn(6, 5, dtype=double), -1)


def options():
    """Yield targets and options of the losses: each with each other one at least once."""
    for i, reduction in enumerate(("mean", "sum", "none")):
        for j in range(8):
            soft, weighted, masked = j & 1, j & 2, j & 4
            mask = a_mask(6, 5)
            mask[range(6), LABELS.clamp(min=0)] = True
            keywords = {
                "weight": WEIGHT if weighted else None,
                "where": mask if masked else None,
                "reduction": reduction,
                "label_smoothing": 0.1 * ((i + j) % 2),
                "z_loss": 0.01 * (i == 1),
                "sample_weight": SAMPLE if (i + j // 2) % 3 == 0 else None,
            }
            yield (soft_labels() if soft else LABELS), keywords


PEERS = ("weight", "reduction", "label_smoothing")


def test_losses_are_those_of_pytorch():
    x = logits(6, 5)
    for target, keywords in options():
        keywords = {k: v for k, v in keywords.items() if k in PEERS}
        pair = (st.cross_entropy(x, target, **keywords), F.cross_entropy(x, target, **keywords))
        torch.testing.assert_close(*pair)
        g = torch.rand_like(pair[0])
        torch.testing.assert_close(*(torch.autograd.grad(y, x, g)[0] for y in pair))
    spatial, labels = logits(2, 5, 3, 4), torch.randint(5, (2, 3, 4))
    torch.testing.assert_close(
        st.cross_entropy(spatial, labels, dim=1), F.cross_entropy(spatial, labels)
    )


def test_two_derivatives_of_cross_entropy():
    x = logits(6, 5)
    for target, keywords in options():

        def function(x, target=target, keywords=keywords):
            return st.cross_entropy(x, target, return_lse=True, **keywords)

        assert gradcheck(function, (x,)), keywords
        assert gradgradcheck(function, (x,)), keywords


@pytest.mark.parametrize("bias", [False, True])
def test_two_derivatives_of_linear_cross_entropy(bias):
    operands = (logits(6, 3), logits(3, 5)) + ((logits(5),) if bias else ())
    for i, (target, keywords) in enumerate(options()):

        def function(X, W, b=None, target=target, keywords=keywords, lse=i % 2):
            return st.linear_cross_entropy(X, W, target, b, return_lse=bool(lse), **keywords)

        assert gradcheck(function, operands), keywords
        assert gradgradcheck(function, operands), keywords


def test_linear_cross_entropy_is_that_of_its_logits():
    X, W, b = logits(6, 3), logits(3, 5), logits(5)
    for target, keywords in options():
        ours = st.linear_cross_entropy(X, W, target, b, block_bytes=100, **keywords)
        theirs = st.cross_entropy(X @ W + b, target, **keywords)
        torch.testing.assert_close(ours, theirs)
        g = torch.rand_like(ours)
        for pair in zip(
            *(torch.autograd.grad(y, (X, W, b), g) for y in (ours, theirs)), strict=True
        ):
            torch.testing.assert_close(*pair)


def test_rows_along_leading_axes_and_a_weight_for_each():
    X, W = logits(2, 6, 3), logits(3, 5)
    labels = torch.stack([LABELS, LABELS.flip(0)])
    by_row = SAMPLE.repeat(2, 1)
    found = st.linear_cross_entropy(X, W, labels, sample_weight=SAMPLE)
    each = st.cross_entropy(X @ W, labels, reduction="none")
    want = (each * by_row).sum() / by_row[labels >= 0].sum()
    torch.testing.assert_close(found, want)
    for pair in zip(*(torch.autograd.grad(y, (X, W)) for y in (found, want)), strict=True):
        torch.testing.assert_close(*pair)
    samples, x = torch.rand(4, 6, dtype=double), logits(6, 5)
    found = vmap(lambda s: st.cross_entropy(x, LABELS, sample_weight=s))(samples)
    each = [st.cross_entropy(x, LABELS, sample_weight=s) for s in samples]
    torch.testing.assert_close(found, torch.stack(each))
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(6,\) or \(6, 1\)"):
        st.cross_entropy(x, LABELS, sample_weight=samples)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_of_losses(dtype):
    if dtype is torch.bfloat16:
        pytest.importorskip("ml_dtypes")
    X, W = logits(6, 3, dtype=dtype), logits(3, 5, dtype=dtype)
    loss = st.linear_cross_entropy(X, W, LABELS)
    assert loss.dtype == dtype
    loss.backward()
    assert X.grad.dtype == W.grad.dtype == dtype
    x = logits(6, 5, dtype=dtype)
    st.cross_entropy(x, LABELS.to(torch.int16)).backward()
    assert x.grad.dtype == dtype
    (0.5 * st.cross_entropy(x, soft_labels())).backward()


def test_a_sure_prediction_keeps_its_loss_and_gradient():
    x = torch.tensor([[0.0, 50.0]], requires_grad=True)
    loss = st.cross_entropy(x, torch.tensor([1]))
    loss.backward()
    np.testing.assert_allclose(
        [loss.item(), x.grad[0, 1].item()], [np.exp(-50), -np.exp(-50)], 1e-5
    )


def test_a_layer_learns_as_with_pytorch():
    def losses_of(loss):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        X, y = torch.randn(50, 4), torch.randint(3, (50,))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
        for _ in range(20):
            optimizer.zero_grad()
            found = loss(layer, X, y)
            found.backward()
            optimizer.step()
            yield found.item()

    ours = list(losses_of(lambda layer, X, y: st.cross_entropy(layer(X), y)))
    by_layer = list(
        losses_of(lambda layer, X, y: st.linear_cross_entropy(X, layer.weight.T, y, layer.bias))
    )
    theirs = list(losses_of(lambda layer, X, y: F.cross_entropy(layer(X), y)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(by_layer, theirs, rtol=1e-5)


# ---- autograd's rules --------------------------------------------------------------------------


def test_modes_of_autograd():
    x = logits(3, 4)
    with torch.no_grad():
        assert not st.softmax(x).requires_grad
    with torch.inference_mode():
        assert st.softmax(x).is_inference()
        assert st.cross_entropy(x, torch.tensor([0, 1, 2])).is_inference()
    assert st.softmax(x.detach()).grad_fn is None


def test_a_result_changed_in_place_is_noticed():
    x = logits(3, 4)
    s = st.softmax(x)
    s.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.sum().backward()
    z = x * 1
    loss = st.cross_entropy(z, torch.tensor([0, 1, 2]))
    z.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_backward_twice_from_one_graph():
    x = logits(3, 4)
    loss = st.cross_entropy(x, torch.tensor([0, 1, 2]))
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    loss.backward(torch.tensor(3.0, dtype=double))
    torch.testing.assert_close(x.grad, 4 * first)


def test_checkpoints_threads_and_batched_gradients():
    x = logits(3, 4)
    want = torch.autograd.grad(st.softmax(x).square().sum(), x)[0]
    from torch.utils.checkpoint import checkpoint

    checkpoint(lambda x: st.softmax(x).square().sum(), x, use_reentrant=False).backward()
    torch.testing.assert_close(x.grad, want)
    y = st.softmax(x)
    eye = torch.eye(12, dtype=double).reshape(12, 3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old vmap goes through the batch one by one
        jacobian = torch.autograd.grad(y, x, eye, is_grads_batched=True)[0]
    torch.testing.assert_close(jacobian.reshape(3, 4, 3, 4), jacrev(st.softmax)(x.detach()))
    found = []
    big = logits(2000, 500, dtype=torch.float32)

    def work():
        found.append(torch.autograd.grad(st.softmax(big).square().sum(), big)[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(torch.equal(each, found[0]) for each in found)


# ---- transformations ---------------------------------------------------------------------------

FUNCTIONS = {name: getattr(st, name) for name in NAMES} | {
    "cross_entropy": lambda x: st.cross_entropy(
        x, torch.arange(x[..., 0].numel()).view(x.shape[:-1])
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_and_grad_in_any_order(name):
    function, X = FUNCTIONS[name], logits(3, 4, 5, requires_grad=False)

    def loss(x):
        return function(x).square().sum()

    each = torch.stack([function(x) for x in X])
    torch.testing.assert_close(vmap(function)(X), each)
    torch.testing.assert_close(vmap(function, in_dims=1)(X.movedim(0, 1)), each)
    gradients = torch.stack(
        [torch.autograd.grad(loss(x.requires_grad_()), x)[0] for x in X.clone()]
    )
    torch.testing.assert_close(vmap(grad(loss))(X), gradients)
    torch.testing.assert_close(grad(lambda X: vmap(loss)(X).sum())(X), gradients)
    x = X[0, :2]
    hessian = torch.autograd.functional.hessian(loss, x)
    torch.testing.assert_close(jacrev(jacrev(loss))(x), hessian)
    _, pull = vjp(loss, x)  # its graph is used after the transformation has ended
    torch.testing.assert_close(pull(torch.tensor(1.0, dtype=double))[0], grad(loss)(x))


def test_vmap_of_every_operand():
    x, mask = logits(3, 4, requires_grad=False), a_mask(5, 4)
    scales = torch.rand(5, dtype=double)
    found = vmap(lambda m, s: st.softmax(x, where=m, scale=s))(mask, scales)
    each = [st.softmax(x, where=m, scale=s.item()) for m, s in zip(mask, scales, strict=True)]
    torch.testing.assert_close(found, torch.stack(each))
    y = logits(5, 3, 4, requires_grad=False)
    found = vmap(lambda x: st.softmax(x, scale=scales[:3]))(y)
    torch.testing.assert_close(found, torch.stack([st.softmax(x, scale=scales[:3]) for x in y]))
    labels, weights = torch.tensor([0, 1, 3]), torch.rand(5, 4, dtype=double)
    found = vmap(lambda w: st.cross_entropy(x, labels, weight=w))(weights)
    each = [st.cross_entropy(x, labels, weight=w) for w in weights]
    torch.testing.assert_close(found, torch.stack(each))


def test_vmap_of_every_option_of_the_losses():
    X = logits(3, 6, 5, requires_grad=False)
    for target, keywords in options():

        def loss(x, target=target, keywords=keywords):
            return sum(y.sum() for y in st.cross_entropy(x, target, return_lse=True, **keywords))

        want = torch.stack([torch.autograd.grad(loss(x.requires_grad_()), x)[0] for x in X.clone()])
        torch.testing.assert_close(vmap(grad(loss))(X), want)
        torch.testing.assert_close(grad(lambda X, loss=loss: vmap(loss)(X).sum())(X), want)
    W, b = logits(3, 5, requires_grad=False), logits(5, requires_grad=False)
    inputs = logits(2, 6, 3, requires_grad=False)
    by_W = grad(lambda W, X: st.linear_cross_entropy(X, W, LABELS, b))
    torch.testing.assert_close(
        vmap(by_W, (None, 0))(W, inputs), torch.stack([by_W(W, X) for X in inputs])
    )


@compiled
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_in_one_graph(name):
    function = FUNCTIONS[name]

    def loss(x):
        return function(x).square().sum()

    in_graph = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for shape in ((3, 5), (4, 5)):  # the second with a size that is a symbol
        x = logits(*shape)
        pair = (in_graph(x), loss(x))
        torch.testing.assert_close(*pair)
        torch.testing.assert_close(*(torch.autograd.grad(y, x)[0] for y in pair))
    x = logits(3, 4, 5, requires_grad=False)
    mapped = torch.compile(vmap(function), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(mapped(x), vmap(function)(x))


@pytest.mark.filterwarnings("ignore")  # what PyTorch's compiler says of itself
def test_compiled_to_code():
    layer = torch.nn.Linear(3, 5)
    X, y = torch.randn(6, 3), torch.randint(5, (6,))

    def loss(X):
        return st.linear_cross_entropy(torch.tanh(X), layer.weight.T, y, layer.bias, z_loss=0.1)

    found = []
    for function in (torch.compile(loss, fullgraph=True), loss):
        layer.zero_grad()
        function(X).backward()
        found.append((layer.weight.grad, layer.bias.grad))
    for pair in zip(*found, strict=True):
        torch.testing.assert_close(*pair)


@compiled
def test_exported():
    class Model(torch.nn.Module):
        def forward(self, x):
            return st.softmax(x, dim=1)

    x = torch.randn(3, 4)
    program = torch.export.export(Model(), (x,))
    assert torch.equal(program.module()(x), st.softmax(x, dim=1))


@compiled
@pytest.mark.parametrize("requires_grad", [False, True])
def test_operations_as_pytorch_checks_them(requires_grad):
    x, mask = logits(3, 4, requires_grad=requires_grad), a_mask(3, 4)
    y, labels = logits(3, 4, requires_grad=False), torch.tensor([0, -100, 3])
    row = logits(3, 1, requires_grad=requires_grad)
    W, b = logits(4, 5, requires_grad=requires_grad), logits(5, requires_grad=False)
    how = (-100, "mean", 0.1, 0.1)
    ops = torch.ops.smcore
    for operation, arguments in (
        (ops.softmax, (x, mask, row, [-1], 1.0)),
        (ops.log_softmax, (x.detach().T.requires_grad_(requires_grad), None, None, [-2, -1], 0.5)),
        (ops.softmax_vjp, (x, y, mask, [-1], 2.0)),
        (ops.log_softmax_vjp, (x, y, None, [-1], 1.0)),
        (ops.logsumexp, (x, mask, [-1])),
        (ops.logsumexp_vjp, (x, row, row, mask, [-1])),
        (ops.cross_entropy, (x, labels, mask, None, row.detach() ** 2, [-1], *how, True)),
        (ops.cross_entropy, (x, labels, None, None, None, [-1], *how, False)),
        (ops.linear_cross_entropy, (x, W, b, labels, None, None, None, *how, None, "XW")),
        (ops.linear_cross_entropy, (x, W, None, labels, None, None, None, *how, 100, "")),
    ):
        opcheck(operation.default, arguments)


def test_without_numbers():
    x, labels = (
        torch.empty(3, 5, dtype=double, device="meta"),
        torch.zeros(3, dtype=torch.int64, device="meta"),
    )
    assert st.softmax(x, dim=0).shape == (3, 5)
    assert st.logsumexp(x, keepdims=True).shape == (3, 1)
    loss, lse = st.cross_entropy(x, labels, return_lse=True, reduction="none")
    assert loss.device.type == "meta"
    assert loss.shape == lse.shape == (3,)
    W = torch.nn.Parameter(torch.empty(5, 7, device="meta", dtype=double))
    st.linear_cross_entropy(x, W, labels).backward()
    assert W.grad.shape == (5, 7)
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        assert st.softmax(torch.empty(3, 4)).shape == (3, 4)
    assert st.softmax(mode.from_tensor(torch.ones(3))).shape == (3,)
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(lambda x: st.softmax(x))(torch.ones(3)).graph
    assert "smcore.softmax.default" in {str(node.target) for node in graph.nodes}


def test_a_subclass_stays_one():
    class Tagged(torch.Tensor):
        pass

    assert type(st.softmax(torch.ones(3).as_subclass(Tagged))) is Tagged


@pytest.mark.parametrize(("dtype", "ignored"), [(torch.uint8, -100), (torch.int8, -250)])
def test_labels_that_are_ignored_modulo_their_width_count(dtype, ignored):
    x, labels = torch.randn(2, 200, dtype=double), torch.tensor([156 if ignored == -100 else 6, 3])
    hessian = torch.autograd.functional.hessian
    found = hessian(lambda x: st.cross_entropy(x, labels.to(dtype), ignore_index=ignored), x)
    torch.testing.assert_close(found, hessian(lambda x: st.cross_entropy(x, labels), x))


# ---- errors ------------------------------------------------------------------------------------


def fake_cuda():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(3, device="cuda")


def nested():
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(1)], layout=torch.jagged)


@pytest.mark.filterwarnings("ignore")  # of PyTorch, that some kinds of tensors are new or go
@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        (TypeError, lambda: np.ones(3), r"x must be a torch.Tensor; found ndarray; pass torch.as"),
        (ValueError, fake_cuda, r"x must be on the CPU.*found device cuda:0; pass x.cpu\(\), or"),
        (TypeError, lambda: torch.ones(3).to_sparse(), r"found a torch.sparse_coo.*x.to_dense\(\)"),
        (TypeError, nested, r"found a nested tensor; pass x.to_padded_tensor"),
        (TypeError, lambda: torch.arange(3), r"found torch.int64; pass x.to\(torch.float64\)"),
        (TypeError, lambda: torch.ones(3) * 1j, r"x must hold float16.*found torch.complex64$"),
    ],
)
def test_what_is_not_served(kind, make, message):
    x = make()
    for function in (st.softmax, st.logsumexp, lambda x: st.cross_entropy(x, torch.tensor(0))):
        with pytest.raises(kind, match=message):
            function(x)


@pytest.mark.parametrize(
    ("kind", "call", "message"),
    [
        (TypeError, lambda x: st.softmax(x, 0, dim=1), "axis or dim, not both; found axis=0"),
        (IndexError, lambda x: st.softmax(x, 5), "axis 5 is out of bounds"),
        (ValueError, lambda x: st.softmax(x, (0, -2)), "must not name an axis twice"),
        (TypeError, lambda x: st.softmax(x, "a"), "axis must be an integer, a tuple"),
        (TypeError, lambda x: st.softmax(x, dtype=torch.int32), "dtype must be torch.float16"),
        (ValueError, lambda x: st.softmax(x, scale=torch.ones(7)), r"scale must have shape \(3,\)"),
        (ValueError, lambda x: st.softmax(x, scale=float("nan")), "scale must be finite"),
        (TypeError, lambda x: st.softmax(x, where=x), "where must be boolean"),
        (TypeError, lambda x: st.softmax(x, where=[True] * 4), "where must be a torch.Tensor"),
        (ValueError, lambda x: st.cross_entropy(x, torch.tensor([0, 1, 7])), "found 7 at index"),
        (ValueError, lambda x: st.cross_entropy(x, torch.tensor([0])), "must have shape"),
        (TypeError, lambda x: st.cross_entropy(x, torch.ones(3)), r"target.long\(\).*\(3,\)"),
        (TypeError, lambda x: st.cross_entropy(x, torch.ones(3, 1)), r"target.long\(\)"),
        (TypeError, lambda x: st.cross_entropy(x, x > 0), r"found torch.bool of .*long\(\)"),
        (
            ValueError,
            lambda x: st.cross_entropy(x, x.clone().requires_grad_()),
            r"target must not require a gradient.*target.detach\(\)",
        ),
        (
            TypeError,
            lambda x: st.linear_cross_entropy(x, x.T.double(), torch.tensor([0, 1, 2])),
            "must have one dtype; found torch.float32, torch.float64",
        ),
    ],
)
def test_arguments_that_do_not_fit(kind, call, message):
    with pytest.raises(kind, match=message):
        call(torch.ones(3, 4))


@compiled
def test_forward_mode_is_refused_rather_than_dropped():
    x = torch.ones(3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, x)
        with pytest.raises(NotImplementedError, match="softmax has no derivative in forward mode"):
            st.softmax(dual)
    with pytest.raises(NotImplementedError, match="use reverse mode"):
        torch.func.jvp(st.softmax, (x,), (x,))


def test_bfloat16_asks_for_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        st.softmax(torch.ones(3, dtype=torch.bfloat16))


def test_without_pytorch_the_import_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import smcore.torch"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "smcore.torch needs PyTorch 2.6 or newer" in found.stderr


def test_on_the_numpy_backend():
    code = """
import smcore, torch, smcore.torch as st
assert smcore.backend() == "numpy"
x = torch.randn(6, 5, requires_grad=True)
y = torch.tensor([0, 1, -100, 3, 4, 2])
pair = st.cross_entropy(x, y), torch.nn.functional.cross_entropy(x, y)
torch.testing.assert_close(*pair)
torch.testing.assert_close(*(torch.autograd.grad(loss, x)[0] for loss in pair))
torch.testing.assert_close(st.softmax(x, dim=0), torch.softmax(x, 0))
"""
    environment = os.environ | {"SMCORE_BACKEND": "numpy"}
    environment.pop("SMCORE_TARGET", None)
    command = [sys.executable, "-W", "error", "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr


# ---- sums out of range, empty batches, kept graphs ---------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_means_of_more_rows_than_float16_can_count(dtype):
    N = 70000
    x = torch.linspace(-1, 1, 2 * N, dtype=torch.float64).reshape(N, 2).to(dtype)
    y, v = torch.zeros(N, dtype=torch.int64), torch.tensor([1000.0, 0.0], dtype=dtype).expand(N, 2)
    s = torch.softmax(x.double(), -1)
    tolerance = {"rtol": 2e-2, "atol": 0, "check_dtype": False}
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(st.cross_entropy(leaf, y), leaf, create_graph=True)
    (h,) = torch.autograd.grad(g, leaf, v)
    expected = 1000 / N * s[:, 0] * s[:, 1]
    torch.testing.assert_close(h[:, 0].double(), expected, **tolerance)

    mapped = torch.vmap(torch.func.grad_and_value(lambda a: st.cross_entropy(a, y)))
    g, loss = mapped(torch.stack([x, -x]))
    torch.testing.assert_close(loss[0].double(), -s[:, 0].log().mean(), **tolerance)
    if dtype != torch.float16:  # where they are subnormal
        torch.testing.assert_close(g[0, :, 1].double(), s[:, 1] / N, **tolerance)
    assert (g[0, :, 1] > 0).all()


@pytest.mark.parametrize("size", [1e38, 1e-42])
def test_means_depend_on_ratios_of_sample_weights_alone(size):
    x = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 2, 0], [5, 0, 0]])
    y = torch.tensor([0, 1, 2, 0])
    ratios = torch.tensor([1.0, 2, 3, 0])
    units = ratios * size / (1.0 if size > 1 else 1.401298464324817e-45)
    weights = units if size > 1 else units.round() * 1.401298464324817e-45

    def derivatives(w, convert):
        leaf = convert(x).requires_grad_()
        loss = st.cross_entropy(leaf, y, sample_weight=convert(w))
        (g,) = torch.autograd.grad(loss, leaf, create_graph=True)
        return loss.detach(), *torch.autograd.grad((g * convert(x)).sum(), leaf), g.detach()

    expected = derivatives(weights.double(), torch.Tensor.double)
    for found, truth in zip(derivatives(weights, torch.clone), expected, strict=True):
        torch.testing.assert_close(found.double(), truth, rtol=1e-5, atol=1e-7)
    for axis in (None, 0):
        w = weights if axis is None else weights[None]
        g, loss = torch.vmap(
            torch.func.grad_and_value(lambda a, w: st.cross_entropy(a, y, sample_weight=w)),
            (0, axis),
        )(x[None], w)
        torch.testing.assert_close(loss[0].double(), expected[0], rtol=1e-5, atol=0)
        torch.testing.assert_close(g[0].double(), expected[2], rtol=1e-5, atol=1e-7)


def test_vmap_of_an_empty_batch():
    x, W, y = torch.zeros(0, 2, 3), torch.zeros(3, 4), torch.tensor([0, 1])
    weights = torch.zeros(0, 3)
    assert torch.vmap(lambda a: st.cross_entropy(a, y))(x).shape == (0,)
    assert torch.vmap(lambda a: st.cross_entropy(a, y, reduction="none"))(x).shape == (0, 2)
    assert torch.vmap(lambda a, w: st.cross_entropy(a, y, weight=w))(x, weights).shape == (0,)
    assert torch.vmap(lambda a: st.linear_cross_entropy(a, W, y))(x).shape == (0,)


@pytest.mark.parametrize("linear", [False, True])
def test_gradients_may_be_written_over_where_the_graph_is_kept(linear):
    x = torch.tensor([[0.0, 1, 2], [1, 0, 3]], requires_grad=True)
    y = torch.tensor([0, 1])
    loss = st.linear_cross_entropy(x, torch.eye(3), y) if linear else st.cross_entropy(x, y)
    loss.backward(retain_graph=True)
    expected = x.grad.clone()
    assert expected.any()
    x.grad.zero_()
    loss.backward()
    torch.testing.assert_close(x.grad, expected)
