"""The bits of results are those stored, but for large arrays: `benchmarks/bits.py` compares all."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import smcore

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bits() -> ModuleType:
    """benchmarks/bits.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("bits")


@pytest.fixture(scope="module")
def found(bits: ModuleType) -> dict[str, Any]:
    """The digests of each target: computed together, as to draw operands takes its time."""
    return bits.compute(smcore.targets(), quick=True)


@pytest.mark.usual
@pytest.mark.parametrize("target", smcore.targets())
def test_bits_are_those_stored(bits, found, target):
    expected = bits.stored(target)
    if expected is None:
        pytest.skip(f"nothing is stored of {target}")
    assert list(bits.differences(found[target], expected, quick=True)) == []


@pytest.mark.skipif(not smcore.targets(), reason="needs the native backend")
def test_a_changed_bit_is_named(bits, monkeypatch):
    monkeypatch.setattr(bits, "CASES", [c for c in bits.CASES if c.name == "1x5 rows"])
    found = bits.compute(["scalar"], quick=True)["scalar"]
    changed = {name: dict(of_calls) for name, of_calls in found.items()}
    changed["softmax"]["1x5 rows"] = ["0", *found["softmax"]["1x5 rows"][1:]]
    del changed["logsumexp"]["1x5 rows"]
    assert list(bits.differences(changed, found, quick=True)) == ["softmax 1x5 rows float32"]
    assert list(bits.differences(changed, found, quick=False)) == [
        "softmax 1x5 rows float32",
        "logsumexp 1x5 rows: stored, but no case any more",
    ]


@pytest.mark.skipif(not smcore.targets(), reason="needs the native backend")
def test_digests_see_signs_of_zeros_and_no_kind_of_nan(bits):
    zeros = np.zeros(3, np.float32)
    assert bits.digest(zeros) != bits.digest(-zeros)
    nan = np.full(3, np.nan, np.float32)
    other = (nan.view(np.uint32) ^ np.uint32(0x80000001)).view(np.float32)
    assert bits.digest(nan) == bits.digest(other) != bits.digest(zeros)


# From the smallest caches of a phone to the largest of a server: L1, L2, L3.
CACHES = (
    (16 << 10, 256 << 10, 1 << 20),
    (48 << 10, 2 << 20, 16 << 20),
    (64 << 10, 4 << 20, 512 << 20),
)


@pytest.fixture(params=CACHES)
def caches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Plans are made for these caches."""
    core = importlib.import_module("smcore._core")
    core._set_caches(request.param)
    assert core._caches() == request.param
    yield
    core._set_caches(None)


@pytest.mark.usual
@pytest.mark.skipif(not smcore.targets(), reason="needs the native backend")
def test_caches_change_no_bit(bits, found, caches):
    target = smcore.targets()[0]
    planned = bits.compute([target], quick=True)[target]
    assert list(bits.differences(planned, found[target], quick=True)) == []


# So many classes that only a few lines of each stay in a cache of any size, so far apart that
# sums are online.
@pytest.fixture(scope="module")
def wide_columns() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return logits, and what the forward functions return for them."""
    x = np.random.default_rng(7).normal(size=(1100, 4000)).astype(np.float32)
    functions = (smcore.softmax, smcore.log_softmax, smcore.logsumexp)
    return x, {function.__name__: function(x, axis=0) for function in functions}


@pytest.mark.usual
@pytest.mark.skipif(not smcore.targets(), reason="needs the native backend")
def test_caches_change_no_bit_of_wide_columns(wide_columns, caches):
    x, found = wide_columns
    for name, result in found.items():
        assert np.array_equal(getattr(smcore, name)(x, axis=0), result), name
