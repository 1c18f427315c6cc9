"""Arrays of other libraries: taken from the CPU's memory, by DLPack or ``__array__``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_identical


class Exporter:
    """An array that has DLPack alone, and on which NumPy knows no operation."""

    def __init__(self, array: Any, device: int = 1) -> None:
        self._array, self._device = array, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, **options: Any) -> Any:
        assert self._device == 1, "what lies on a device is not to be copied unasked"
        return self._array.__dlpack__(**options)


class Converted:
    """An array that has ``__array__`` alone."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._array if dtype is None else self._array.astype(dtype)


class Both(Converted, Exporter):
    """One that has both, as most have."""

    def __init__(self, array: Any, device: int = 1) -> None:
        Exporter.__init__(self, array, device)


CALLS = {
    "softmax": lambda sm, of, x, y: sm.softmax(of(x)),
    "log_softmax": lambda sm, of, x, y: sm.log_softmax(of(x), axis=0, where=of(x > 0)),
    "logsumexp": lambda sm, of, x, y: sm.logsumexp(of(x), b=of(np.abs(x))),
    "softmax_vjp": lambda sm, of, x, y: sm.softmax_vjp(of(sm.softmax(x)), of(x)),
    "cross_entropy": lambda sm, of, x, y: sm.cross_entropy(of(x), of(y), weight=of(np.ones(4))),
    "layer": lambda sm, of, x, y: sm.linear_cross_entropy(of(x), of(x[:, :3].T @ x), of(y)),
    "merge": lambda sm, of, x, y: sm.logsumexp_merge((of(x), of(x)), (of(x), of(x))),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("of", [Exporter, Converted, Both])
def test_what_is_in_the_memory_of_the_cpu_is_taken(sm, native_dtype, rng, of, name):
    x, y = rng.standard_normal((3, 4)).astype(native_dtype), np.array([0, 3, 1])
    if name == "layer":
        x = rng.standard_normal((3, 3)).astype(native_dtype)
        y = np.array([0, 2, 1])
    expected = CALLS[name](sm, lambda array: array, x, y)
    assert_identical(CALLS[name](sm, of, x, y), expected)


@pytest.mark.parametrize(
    ("device", "where"), [(2, "CUDA"), (8, "Metal"), (10, "ROCm"), (99, "a device of DLPack's")]
)
@pytest.mark.parametrize("of", [Exporter, Both])
def test_what_is_on_a_device_is_refused(sm, of, device, where):
    there, here = of(np.ones((2, 3)), device), np.ones((2, 3))
    message = f"must lie in the memory of the CPU; found {of.__name__} on {where}.*scipy.special"
    with pytest.raises(TypeError, match=f"x {message}"):
        sm.softmax(there)
    with pytest.raises(TypeError, match=f"where {message}"):
        sm.softmax(here, where=there)
    with pytest.raises(TypeError, match=f"g {message}"):
        sm.softmax_vjp(here, there)
    with pytest.raises(TypeError, match=f"target {message}"):
        sm.cross_entropy(here, there)


@pytest.mark.parametrize("device", [3, 11, 13])
def test_memory_that_a_device_shares_is_taken(sm, device):
    assert_identical(sm.softmax(Both(np.zeros(4), device)), np.full(4, 0.25))


def test_what_numpy_cannot_read_is_an_error_that_names_it(sm):
    class Stubborn(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("not today")

    with pytest.raises(TypeError, match="x must be what NumPy can read; found Stubborn: not today"):
        sm.softmax(Stubborn(np.zeros(4)))


def test_subclasses_of_arrays_are_arrays(sm, tmp_path):
    mapped = np.memmap(tmp_path / "logits", np.float64, "w+", shape=(2, 3))
    assert_identical(sm.softmax(mapped), np.full((2, 3), 1 / 3))
    swapped = np.zeros(3, ">f8").view(type("Own", (np.ndarray,), {}))
    assert_identical(sm.softmax(swapped), np.full(3, 1 / 3))
