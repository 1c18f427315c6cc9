"""What the annotations promise: read by mypy and pyright, and run by `test_api.py`."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import smcore as sm

Array = NDArray[Any]
Single = NDArray[np.float32]
Double = NDArray[np.float64]


def check_forward(x: Single, flag: bool, where: NDArray[np.bool_]) -> None:
    """The dtype of the input is that of the result, unless another is asked for."""
    assert_type(sm.softmax(x), Single)
    assert_type(sm.softmax(x=x, where=where, scale=np.float32(2)), Single)
    assert_type(sm.log_softmax(x, np.int64(0)), Single)
    assert_type(sm.log_softmax(x, (np.int64(0), 1), out=np.empty_like(x)), Single)
    assert_type(sm.softmax(x, dtype=np.float64), Array)
    assert_type(sm.softmax([1, 2, 3]), Array)
    assert_type(sm.logsumexp(x, return_sign=True), tuple[Any, Any])
    sm.logsumexp(x, return_sign=flag)


def check_derivatives(x: Single, wide: Double, where: NDArray[np.bool_]) -> None:
    """The same for derivatives, of operands that agree."""
    s, log_s = sm.softmax(x), sm.log_softmax(x)
    lse: Single = sm.logsumexp(x, np.int64(1))
    assert_type(sm.softmax_jacobian(s, where=where), Single)
    assert_type(sm.log_softmax_jacobian(log_s), Single)
    assert_type(sm.softmax_vjp(s, x, np.int64(-1), where=where), Single)
    assert_type(sm.softmax_jvp(s, v=x), Single)
    assert_type(sm.log_softmax_vjp(log_s, 1.0), Single)
    assert_type(sm.log_softmax_jvp(log_s, x, out=np.empty_like(x)), Single)
    assert_type(sm.logsumexp_vjp(x, lse, 1.0), Single)
    assert_type(sm.softmax_from_lse(x, lse.astype(np.float64)), Single)
    assert_type(sm.softmax_vjp([0.5, 0.5], [1, 2]), Array)
    sm.softmax_vjp(s, wide)


def check_layer(x: Single, W: Single, b: Single) -> None:
    """The same for layers."""
    s = sm.softmax_layer(x, W, b)
    assert_type(s, Single)
    assert_type(sm.linear_weight_jacobian(x, np.int64(3)), Single)
    assert_type(sm.softmax_layer_jacobian(s, x), Single)
    assert_type(sm.softmax_layer_vjp(s, x, W, s), tuple[Single, Single, Single])
    assert_type(sm.softmax_layer_vjp(s, x, W, s, wrt="Wb"), tuple[Any, Any, Any])
    assert_type(sm.softmax_layer_jvp(s, x, W, db=b), Single)


def check_losses(x: Single, labels: NDArray[np.int64], flag: bool) -> None:
    """A loss is a number where it is reduced."""
    assert_type(sm.cross_entropy(x, labels, ignore_index=np.int64(-1)), np.floating[Any])
    assert_type(sm.cross_entropy(x, labels, return_lse=True), tuple[Any, Any])
    sm.cross_entropy(x, labels, return_lse=flag, label_smoothing=np.float32(0.5))
    sm.cross_entropy(x, labels, reduction="none", z_loss=np.float64(0.5)).mean()
    assert_type(sm.cross_entropy_with_grad(x, labels), tuple[np.float32, Single])
    assert_type(sm.cross_entropy_with_grad(x, labels, return_lse=True), tuple[Any, Array, Any])
    sm.cross_entropy_with_grad(x, labels, return_lse=flag)
    sm.cross_entropy(x, labels, sample_weight=[1, 2]) + sm.cross_entropy(x, labels, sample_weight=2)
    s, sample = sm.softmax(x), np.ones(2, np.float32)
    assert_type(sm.cross_entropy_hvp(s, x, labels, axis=np.int64(1), sample_weight=sample), Single)


def check_layer_losses(x: Single, W: Single, b: Single, labels: NDArray[np.int64]) -> None:
    """The same from the layer before."""
    assert_type(sm.linear_cross_entropy(x, W, labels, b, block_bytes=np.int64(1)), np.floating[Any])
    found = sm.linear_cross_entropy_with_grad(x, W, labels)
    assert_type(found, tuple[Any, tuple[Array, Array, None]])
    found_with_bias = sm.linear_cross_entropy_with_grad(x, W, labels, b, reduction="sum")
    assert_type(found_with_bias, tuple[Any, tuple[Array, Array, Array]])
    sm.linear_cross_entropy_with_grad(x, W, labels, b, return_lse=bool(len(x)))
    sm.linear_cross_entropy_with_grad(x, W, labels, b, wrt=("W", "b"), sample_weight=[1, 2])
    s = sm.softmax_layer(x, W, b)
    sm.linear_cross_entropy_hvp(x, W, W, labels, b, ignore_index=np.int64(-1), s=s)


def check_operators(x: Single) -> None:
    """Operators are added, scaled and written out."""
    J = sm.SoftmaxJacobian(sm.softmax(x.mean(0)))
    ridge = 2 * J + J * np.float32(0.5) - J / 2
    assert_type(J.toarray(), Array)
    assert_type(J @ x.T, Array)
    assert_type(ridge.T.matvec([1, 2, 3]), Array)
    assert_type(J + np.eye(3), Array)
    assert_type(np.asarray(J), Array)


def run() -> None:
    """Whatever is accepted above is accepted when it runs."""
    x, W, b = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32), np.ones(3, np.float32)
    labels, where = np.array([0, 2]), np.array([True, True, False])
    check_forward(x, True, where)
    check_derivatives(x, x.astype(np.float64), where)
    check_layer(x, W, b)
    check_losses(x, labels, True)
    check_layer_losses(x, W, b, labels)
    check_operators(x)
    with sm.set_num_threads(int(np.int64(1))):
        pass
