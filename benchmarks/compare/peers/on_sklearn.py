"""scikit-learn: what its linear and boosting models compute with."""

from __future__ import annotations

from functools import partial

import numpy as np
import sklearn
from sklearn.utils.extmath import softmax

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands
from ..settings import threads
from . import Prepare, UnsupportedError

VERSION = sklearn.__version__
to_numpy = np.asarray


def _check(cell: Cell) -> None:
    if len(cell.shape) != 2 or cell.axis not in (-1, 1) or cell.out:
        raise UnsupportedError("takes matrices, along the last axis, without out")


def _softmax(cell: Cell, operands: Operands) -> Call:
    _check(cell)
    return partial(softmax, operands["x"])


def _cross_entropy(cell: Cell, operands: Operands) -> Call:
    from sklearn._loss import HalfMultinomialLoss  # private, but there is no other way to it

    _check(cell)
    x, N = operands["x"], len(operands["x"])
    loss = HalfMultinomialLoss(n_classes=cell.classes)
    y, weight = operands["y"].astype(x.dtype), np.full(N, 1 / N, x.dtype)

    def call() -> tuple[float, Array]:
        losses, grad = loss.loss_gradient(y, x, sample_weight=weight, n_threads=threads())
        return losses.sum(), grad

    return call


TABLE: dict[str, Prepare] = {"softmax": _softmax, "cross_entropy_with_grad": _cross_entropy}
