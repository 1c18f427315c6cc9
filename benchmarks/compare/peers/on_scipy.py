"""SciPy: ``scipy.special``, which always allocates its result."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy
from scipy import special

from ..card import Cell
from ..measure import Call
from ..operands import Operands, arrays_of
from . import Prepare, UnsupportedError

VERSION = scipy.__version__
to_numpy = np.asarray


def _function(function: Any) -> Prepare:
    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.out:
            raise UnsupportedError("has no out")
        return partial(function, *arrays_of(cell, operands), axis=cell.axis)

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _function(special.softmax),
    "log_softmax": _function(special.log_softmax),
    "logsumexp": _function(special.logsumexp),
    "logsumexp_partial": _function(special.logsumexp),
}
