"""The peers: one module each, which is imported if it can be.

A module has a ``VERSION``, a ``TABLE`` of functions that prepare a call, by operation, and
``to_numpy``. Preparing converts the arrays, compiles, allocates what ``out`` asks for; the call
prepared does nothing but the work. A peer is called as its own users call it, on arrays of its own
kind, and does not have to hand out NumPy arrays. Whatever it cannot do raises an exception while
being prepared or called for the first time; the text is the reason given.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands, sample
from ..ops import OPS

Prepare: TypeAlias = Callable[[Cell, Operands], Call]

OURS = "smcore"
MODULES = {
    "smcore": "on_smcore",
    "numpy": "on_numpy",
    "scipy": "on_scipy",
    "scikit-learn": "on_sklearn",
    "numba": "on_numba",
    "pytorch": "on_torch",
    "jax": "on_jax",
    "onnxruntime": "on_onnxruntime",
}
PEERS = tuple(name for name in MODULES if name != OURS)


class UnsupportedError(Exception):
    """A peer cannot do what a cell asks for."""


@dataclass(frozen=True)
class Peer:
    """One way to do the work; see the module's docstring."""

    name: str
    version: str
    table: Mapping[str, Prepare]
    to_numpy: Callable[[Any], Array]

    def prepare(self, cell: Cell, operands: Operands) -> Call:
        """Return the call to be timed, which takes no arguments."""
        if cell.op not in self.table:
            raise UnsupportedError("has no such function")
        return self.table[cell.op](cell, operands)

    def sample(self, cell: Cell, result: Any) -> list[Array]:
        """Take some entries of each array of a result that the others have as well."""
        arrays = _flat(result)[: OPS[cell.op].compared]
        return sample([self.to_numpy(array) for array in arrays])


def load(names: Iterable[str]) -> tuple[list[Peer], dict[str, str]]:
    """Import the peers; return those that are there, and why the others are not."""
    peers, missing = [], {}
    for name in names:
        try:
            module = importlib.import_module(f".{MODULES[name]}", __name__)
        except ImportError as error:
            missing[name] = str(error)
        else:
            peers.append(Peer(name, module.VERSION, module.TABLE, module.to_numpy))
    return peers, missing


def _flat(result: Any) -> list[Any]:
    """List the arrays of a result, whatever tuples or lists they are in."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in _flat(part)]
    return [result]
