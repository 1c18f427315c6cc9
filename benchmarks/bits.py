"""Compare the bits of results with those stored: a rebuild of the kernels should change none.

    python benchmarks/bits.py          # every target of this processor; exits with 1 if any differ
    python benchmarks/bits.py --quick  # without arrays of many megabytes
    python benchmarks/bits.py --write  # store them anew: such a change belongs in the changelog

A digest for each operation, shape, layout, dtype and target; stored in stored_bits/TARGET.json. Any
NaN is like any other; zeros have their signs. Needs the extra [test].
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import cases
from bits_cases import CASES, DTYPES, Call, Case, calls, dtype_named

import smcore

STORED = Path(__file__).with_name("stored_bits")
NOT_RUN = "-"
# Of each operation, of each of its calls, by dtype in the order of DTYPES.
Digests = dict[str, dict[str, list[str]]]


def digest(value: Any) -> str:
    """Return four hexadecimal digits of what a function returned, but for single numbers.

    (NumPy adds up the losses of rows in its own order.)
    """
    found = hashlib.blake2b(digest_size=2)
    for a in cases.results(value):
        if a.ndim == 0:
            continue
        found.update(f"{a.dtype.name}{a.shape}".encode())
        a = np.ascontiguousarray(a, a.dtype.newbyteorder("="))
        nan = np.isnan(a)
        if nan.any():
            a = np.where(nan, np.array(np.nan, a.dtype), a)
        number = f"u{a.itemsize}"
        found.update(a.view(number).astype(number.replace("u", "<u"), copy=False).data)
    return found.hexdigest()


def has_dtype(name: str) -> bool:
    try:
        dtype_named(name)
    except ImportError:
        print(f"{name}: left out, as ml_dtypes is not installed")
        return False
    return True


def groups(case: Case, dtype: str) -> Iterator[list[tuple[str, Call]]]:
    """Yield calls to be computed by each target before the next: as many as memory holds.

    To change the target takes longer than most calls.
    """
    found = calls(case, dtype)
    if case.large:
        yield from ([one] for one in found)
    else:
        yield list(found)


def compute(targets: Sequence[str], quick: bool) -> dict[str, Digests]:
    """Return the digests of each target."""
    found: dict[str, Digests] = {target: {} for target in targets}
    dtypes = [name for name in DTYPES if has_dtype(name)]
    for case, dtype in itertools.product(CASES, dtypes):
        if quick and not case.quick:
            continue
        for group, target in itertools.product(groups(case, dtype), targets):
            with smcore.use_target(target):
                for name, call in group:
                    of_calls = found[target].setdefault(call.operation.name, {})
                    of_dtypes = of_calls.setdefault(name, [NOT_RUN] * len(DTYPES))
                    of_dtypes[DTYPES.index(dtype)] = digest(call())
    return found


# ---- what is stored ------------------------------------------------------------------------------


def path_of(target: str) -> Path:
    return STORED / f"{target}.json"


def stored(target: str) -> Digests | None:
    """Return what is stored of a target; None if nothing is."""
    path = path_of(target)
    if not path.exists():
        return None
    operations: dict[str, dict[str, str]] = json.loads(path.read_text())
    return {
        operation: {name: digests.split() for name, digests in lines.items()}
        for operation, lines in operations.items()
    }


def store(target: str, digests: Digests) -> None:
    """Write them, a call to a line."""
    STORED.mkdir(exist_ok=True)
    operations = {
        operation: {name: " ".join(of_dtypes) for name, of_dtypes in of_calls.items()}
        for operation, of_calls in digests.items()
    }
    path_of(target).write_text(json.dumps(operations, indent=0) + "\n")


def differences(found: Digests, expected: Digests, quick: bool) -> Iterator[str]:
    """Yield what differs: operation, shape, layout, what varies, and dtype."""
    for operation, of_calls in found.items():
        known = expected.get(operation, {})
        for name, of_dtypes in of_calls.items():
            if name not in known:
                yield f"{operation} {name}: not stored"
                continue
            for dtype, one, other in zip(DTYPES, of_dtypes, known[name], strict=True):
                if NOT_RUN not in (one, other) and one != other:
                    yield f"{operation} {name} {dtype}"
    for operation, of_calls in {} if quick else expected.items():
        for name in of_calls.keys() - found.get(operation, {}):
            yield f"{operation} {name}: stored, but no case any more"


def compare(target: str, found: Digests, quick: bool) -> bool:
    """Print how a target compares; return whether no bit differs."""
    expected = stored(target)
    if expected is None:
        print(f"{target}: nothing is stored; skipped")
        return True
    differing = list(differences(found, expected, quick))
    for line in differing:
        print(f"{target} {line}")
    of_calls = itertools.chain.from_iterable(calls.values() for calls in found.values())
    count = sum(digest != NOT_RUN for of_dtypes in of_calls for digest in of_dtypes)
    print(f"{target}: {len(differing)} of {count} results differ")
    return not differing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out large arrays")
    parser.add_argument("--write", action="store_true", help="store the digests")
    parser.add_argument("--threads", type=int, metavar="N", help="how many threads to compute on")
    parser.add_argument(
        "--target", action="append", choices=smcore.targets(), help="by default, every target"
    )
    options = parser.parse_args(arguments)
    if options.write and options.quick:
        parser.error("--write stores all cases: leave out --quick")
    if not smcore.targets():
        print("the native backend is not there: nothing to compare")
        return 0
    if options.threads:
        smcore.set_num_threads(options.threads)
    targets = options.target or smcore.targets()
    found = compute(targets, options.quick)
    if options.write:
        for target in targets:
            store(target, found[target])
        return 0
    return 0 if all([compare(target, found[target], options.quick) for target in targets]) else 1


if __name__ == "__main__":
    sys.exit(main())
