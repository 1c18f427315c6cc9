"""The tables the parametrised tests walk: dtypes, and one row for every public function.

`test_api.py` fails when a public function or a kernel is missing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Array = np.ndarray[Any, np.dtype[Any]]
Operands = dict[str, Array]

DTYPES = ("float32", "float64", "float16", "bfloat16", "longdouble")

CLASSES = 5
INPUTS = 3


def dtype_named(name: str) -> np.dtype:
    """The dtype of that name; the test is skipped where it cannot be had or judged."""
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    if name == "longdouble" and np.finfo(name).nmant > 63:
        pytest.skip("the truth, of 106 bits, cannot judge a longdouble of so many")
    return np.dtype(name)


def largest(dtype: np.dtype) -> float:
    """The largest number of that dtype that is a float64 too (bfloat16: of its range, 3e38)."""
    return 3e38 if dtype.name == "bfloat16" else min(float(np.finfo(dtype).max), 1.79e308)


# ---- Operands ------------------------------------------------------------------------------------
# drawn in float64; `lead` is the shape of the batch, k the number of classes, their axis the last


def logits(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """Inputs of a softmax."""
    return rng.standard_normal((*lead, k)) * 3


def log_probabilities(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """Outputs of a log_softmax."""
    x = logits(rng, lead, k)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def probabilities(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """Outputs of a softmax."""
    return np.exp(log_probabilities(rng, lead, k))


def one_per_row(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """One number a row."""
    return rng.standard_normal(lead)


def pairs(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """One logarithm a row, and what it lacks."""
    return np.stack([one_per_row(rng, lead, k), one_per_row(rng, lead, k) * 1e-4])


def labels(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """One class a row."""
    return rng.integers(k, size=lead)


def inputs(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """Inputs of a layer."""
    return rng.standard_normal((*lead, INPUTS))


def weights(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """Weights of a layer."""
    return rng.standard_normal((INPUTS, k))


def bias(rng: np.random.Generator, lead: tuple[int, ...], k: int) -> Array:
    """One number a class."""
    return rng.standard_normal(k)


Draw = Callable[[np.random.Generator, tuple[int, ...], int], Array]


@dataclass(frozen=True)
class Operation:
    """A public function: how its operands are drawn, and what holds of it."""

    name: str
    operands: Mapping[str, Draw]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    rowwise: bool = True
    """Takes `axis`, works on each row alone."""
    like: tuple[str, ...] = ()
    """The operands with the shape and the dtype of what `out` holds."""
    has_out: bool = True

    def __call__(self, sm: ModuleType, operands: Mapping[str, Any], **keywords: Any) -> Any:
        """Call the function on one implementation."""
        return getattr(sm, self.name)(*operands.values(), **{**self.keywords, **keywords})

    def draw(
        self,
        rng: np.random.Generator,
        dtype: Any = np.float64,
        lead: tuple[int, ...] = (4,),
        k: int = CLASSES,
    ) -> Operands:
        """Operands of that dtype (labels stay integers)."""
        with np.errstate(
            all="ignore"
        ):  # rows of length 0, and probabilities below the smallest float16
            drawn = {name: np.asarray(draw(rng, lead, k)) for name, draw in self.operands.items()}
            return {
                name: a.astype(dtype) if a.dtype.kind == "f" else a for name, a in drawn.items()
            }

    def full(self, operands: Operands) -> list[str]:
        """The operands that hold the class axis (the others have one value a row)."""
        most = max(a.ndim for a in operands.values())
        return [name for name, a in operands.items() if a.ndim == most]

    def buffer(self, result: Any) -> Array:
        """The result that `out` holds: the last one (a loss comes before its gradient)."""
        return results(result)[-1]


def results(value: Any) -> tuple[Array, ...]:
    """Everything a function returned, as a flat tuple of arrays without None (no bias)."""
    if isinstance(value, tuple):
        return tuple(array for item in value for array in results(item))
    return () if value is None else (np.asarray(value),)


def assert_identical(got: Any, expected: Any) -> None:
    """The same shapes, dtypes and bits, signs of zeros included; but any NaN equals any NaN."""
    for one, other in zip(results(got), results(expected), strict=True):
        assert one.dtype == other.dtype
        one, other = one.astype(np.longdouble), other.astype(np.longdouble)
        np.testing.assert_array_equal(one, other)
        assert one.shape == other.shape
        numbers = ~np.isnan(other)
        np.testing.assert_array_equal(np.signbit(one[numbers]), np.signbit(other[numbers]))


_OPERATIONS = (
    Operation("softmax", {"x": logits}, like=("x",)),
    Operation("log_softmax", {"x": logits}, like=("x",)),
    Operation("logsumexp", {"x": logits}),
    Operation("softmax_jacobian", {"s": probabilities}),
    Operation("softmax_vjp", {"s": probabilities, "g": logits}, like=("s", "g")),
    Operation("softmax_jvp", {"s": probabilities, "v": logits}, like=("s", "v")),
    Operation("log_softmax_jacobian", {"log_s": log_probabilities}),
    Operation("log_softmax_vjp", {"log_s": log_probabilities, "g": logits}, like=("log_s", "g")),
    Operation("log_softmax_jvp", {"log_s": log_probabilities, "v": logits}, like=("log_s", "v")),
    Operation("logsumexp_vjp", {"x": logits, "lse": one_per_row, "g": one_per_row}, like=("x",)),
    Operation(
        "cross_entropy",
        {"x": logits, "target": labels},
        keywords={"reduction": "none"},
        has_out=False,
    ),
    Operation(
        "cross_entropy_with_grad",
        {"x": logits, "target": labels},
        keywords={"reduction": "none"},
        like=("x",),
    ),
    Operation(
        "cross_entropy_hvp",
        {"s": probabilities, "v": logits, "target": labels},
        keywords={"reduction": "none"},
        like=("s", "v"),
    ),
    Operation(
        "linear_cross_entropy_hvp",
        {"X": inputs, "W": weights, "V": weights, "target": labels, "b": bias, "Vb": bias},
        rowwise=False,
        has_out=False,
    ),
    Operation("logsumexp_partial", {"x": logits}, has_out=False),
    Operation("logsumexp_merge", {"p": pairs, "q": pairs}, rowwise=False, has_out=False),
    Operation(
        "logsumexp_finalize", {"m": one_per_row, "s": one_per_row}, rowwise=False, has_out=False
    ),
    Operation("softmax_from_lse", {"x": logits, "lse": one_per_row}, like=("x",)),
    Operation("softmax_layer", {"x": inputs, "W": weights, "b": bias}, rowwise=False),
    Operation(
        "linear_weight_jacobian",
        {"x": inputs},
        keywords={"K": CLASSES},
        rowwise=False,
        has_out=False,
    ),
    Operation("softmax_layer_jacobian", {"s": probabilities, "x": inputs}, rowwise=False),
    Operation(
        "softmax_layer_vjp",
        {"s": probabilities, "x": inputs, "W": weights, "g": logits},
        rowwise=False,
        has_out=False,
    ),
    Operation(
        "softmax_layer_jvp",
        {"s": probabilities, "x": inputs, "W": weights, "dW": weights, "db": bias, "dx": inputs},
        rowwise=False,
        has_out=False,
    ),
    Operation(
        "linear_cross_entropy",
        {"X": inputs, "W": weights, "target": labels, "b": bias},
        rowwise=False,
        has_out=False,
    ),
    Operation(
        "linear_cross_entropy_with_grad",
        {"X": inputs, "W": weights, "target": labels, "b": bias},
        rowwise=False,
        has_out=False,
    ),
)
OPERATIONS = {operation.name: operation for operation in _OPERATIONS}
ROWWISE = {name: operation for name, operation in OPERATIONS.items() if operation.rowwise}
WITH_OUT = {name: operation for name, operation in OPERATIONS.items() if operation.has_out}

OPERATORS = {"SoftmaxJacobian", "SoftmaxLayerJacobian"}  # tested in test_operators.py
CONFIGURATION = {
    "backend",
    "targets",
    "use_target",
    "set_num_threads",
    "get_include",
    "get_num_threads",
    "show_config",
}

# every kernel the backends export, and a public function that reaches it
KERNELS = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "logsumexp": "logsumexp",
    "softmax_jacobian": "softmax_jacobian",
    "softmax_vjp": "softmax_vjp",
    "log_softmax_jacobian": "log_softmax_jacobian",
    "log_softmax_vjp": "log_softmax_vjp",
    "log_softmax_jvp": "log_softmax_jvp",
    "logsumexp_partial": "logsumexp_partial",
    "logsumexp_vjp": "logsumexp_vjp",
    "logsumexp_merge": "logsumexp_merge",
    "softmax_layer_jacobian": "softmax_layer_jacobian",
    "cross_entropy": "cross_entropy",
}


def every(table: Mapping[str, Operation], argument: str = "operation") -> Any:
    """Run the test on every operation of the table."""
    return pytest.mark.parametrize(argument, table.values(), ids=table.keys())
