"""The most stack that a kernel can need, on each target and for each stored type.

    python tools/stack_usage.py [--limit BYTES] [--compiler GCC] [--all]

Compiles csrc/kernel.c with the flags of csrc/CMakeLists.txt and asks GCC for the frame of each
function and for what it calls (-fcallgraph-info=su). Prints the path of calls that takes most for
each target, and exits with 1 if one takes more than the limit.

The figure is an upper bound. A call through a pointer is taken for one of any function whose
address is taken and that has as many parameters. Where none has, it is of a function outside, which
calls back what it is given there by name. Kernels do not recurse: no call through a pointer stands
twice on a path. A function of the C library is counted as `LIBRARY`; who calls a kernel, and shares
out the parts of a row in between, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

CSRC = Path(__file__).resolve().parent.parent / "csrc"
LIMIT = 65536
LIBRARY = 512  # memcpy and its like

# The kinds of tiles that one plan decides on (for_tiles, for_parts, for_whole_rows and
# enter_k_block ask it), each with what it does not reach: rows in place pack nothing, and those in
# parts, which are along, no lanes.
PARTS = {"run_parts_in_parallel", "do_parts", "whole_rows_in_buffers", "sums_of_parts"}
ACROSS = {"pack_across", "unpack_across", "load_rows", "store_rows"}
APART = (
    {"tiles_in_buffers", "tiles_in_parts", "pack_along", "unpack_along", *ACROSS, *PARTS},
    {"tiles_in_place", "tiles_in_parts", *PARTS},
    {"tiles_in_place", "tiles_in_buffers", *ACROSS},
)

NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]+)"')
EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(?: label: "([^"]+)")?')
FRAME = re.compile(r"(\d+) bytes \(([^)]+)\)")
DIRECTIVE = re.compile(r"\s*\.(?!quad|long|xword|dword|8byte|4byte)")
CALL = re.compile(r"\s*(?:notrack\s+)?(?:call|jmp|j[a-z]+|bl?|tail)\s")
INDIRECT = "__indirect_call"


@dataclass
class Function:
    """A node of the graph of calls."""

    name: str
    frame: int
    place: str = ""  # of its definition: file:line:column
    calls: set[str] = field(default_factory=set)
    pointers: list[str] = field(default_factory=list)  # places of calls through pointers
    names: set[str] = field(default_factory=set)  # functions whose address it takes


@dataclass(frozen=True)
class Nest:
    """Calls, one in the other, and the stack that they take."""

    size: int
    names: tuple[str, ...]

    def then(self, other: Nest) -> Nest:
        """Return this path and what it calls."""
        return Nest(self.size + other.size, self.names + other.names)


def arguments_at(place: str) -> list[str]:
    """Return what stands in the parentheses that open after that place, apart."""
    file, line, column = place.rsplit(":", 2)
    lines = Path(file).read_text().splitlines()[int(line) - 1 :]
    text = "\n".join([lines[0][int(column) - 1 :], *lines[1:20]])
    found, depth = [""], 0
    for character in text[max(text.find("("), 0) :]:
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            break
        if character == "," and depth == 1:
            found.append("")
        else:
            found[-1] += character
    return found


def read(graph: Path, assembly: Path) -> dict[str, Function]:
    """Read the graph of one translation unit."""
    functions: dict[str, Function] = {}
    for line in graph.read_text().splitlines():
        if node := NODE.match(line):
            title, label = node[1], node[2].split("\\n")
            frame = FRAME.search(node[2])
            if frame and "dynamic" in frame[2] and "bounded" not in frame[2]:
                raise SystemExit(f"{label[0]}: the frame has no bound")
            place = label[1] if frame else ""
            functions[title] = Function(label[0], int(frame[1]) if frame else LIBRARY, place)
        elif edge := EDGE.match(line):
            if edge[2] == INDIRECT:
                functions[edge[1]].pointers.append(edge[3])
            else:
                functions[edge[1]].calls.add(edge[2])
    functions.pop(INDIRECT, None)
    data = functions["data"] = Function("data", 0)
    symbols = {title.rsplit(":", 1)[-1]: title for title, f in functions.items() if f.place}
    for user, named in names(assembly.read_text().splitlines(), symbols):
        holder = functions[symbols[user]] if user in symbols else data
        holder.names.add(symbols[named])
    return functions


def names(lines: Iterable[str], symbols: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield what names which function, other than to call it; but for the table of kernels."""
    user = ""
    for line in lines:
        if label := re.match(r"([A-Za-z_][\w.]*):", line):
            user = label[1].removesuffix(".cold")
        elif not (user.startswith("smc_kernels_") or DIRECTIVE.match(line) or CALL.match(line)):
            yield from ((user, word) for word in re.findall(r"[\w.]+", line) if word in symbols)


class Graph:
    """What calls what in a translation unit."""

    def __init__(self, functions: dict[str, Function]) -> None:
        self.functions = functions
        self.calling = frozenset(
            (title, place) for title, f in functions.items() for place in f.pointers
        )
        taken = {title for f in functions.values() for title in f.names}
        self.arity = {title: len(arguments_at(functions[title].place)) for title in taken}
        self.given = {call: self._given(*call) for call in self.calling}
        # What is named to be given outside, and nowhere else, is called from there alone.
        for (caller, _), titles in self.given.items():
            for title in titles:
                if all(title not in f.names for t, f in functions.items() if t != caller):
                    del self.arity[title]
        self.direct = cache(self._direct)
        self.onward = cache(self._onward)

    def _given(self, caller: str, place: str) -> list[str]:
        """Return the functions that a call of one outside is given; none if it is inside."""
        arguments = arguments_at(place)
        if len(arguments) in self.arity.values():
            return []
        words = {argument.strip() for argument in arguments}
        return [t for t in self.functions[caller].names if self.functions[t].name in words]

    def alone(self, title: str) -> Nest:
        """Return the path that ends where it begins."""
        f = self.functions[title]
        return Nest(f.frame, (f"{f.name} {f.frame}",))

    def _direct(self, title: str, to: str | None) -> Nest | None:
        """Return the most that direct calls take up to a function, or to wherever they end."""
        here = self.alone(title)
        if title == to:
            return here
        below = [self.direct(name, to) for name in self.functions[title].calls]
        known = [here.then(path) for path in below if path is not None]
        if to is None:
            known.append(here)
        return max(known, key=lambda path: path.size, default=None)

    def reached(self, caller: str, place: str) -> list[str]:
        """Return what a call through a pointer may be of."""
        count = len(arguments_at(place))
        found = [title for title, n in self.arity.items() if n == count]
        return [t for t in self.given[caller, place] or found if t != caller]

    def _onward(self, title: str, calling: frozenset[tuple[str, str]]) -> Nest:
        """Return the most from a function on, by way of these calls through pointers."""
        best = self.direct(title, None)
        assert best is not None
        for caller, place in calling:
            path = self.direct(title, caller)
            if path is None:
                continue
            rest = calling - {(caller, place)}
            for callee in self.reached(caller, place):
                whole = path.then(self.onward(callee, rest))
                best = max(best, whole, key=lambda path: path.size)
        return best

    def worst(self) -> Nest:
        """Return the most that any function takes."""
        paths = [self.onward(title, self.calling) for title, f in self.functions.items() if f.place]
        return max(paths, key=lambda path: path.size)


def without(functions: dict[str, Function], left_out: set[str]) -> dict[str, Function]:
    """Return a copy of what calls what without some functions, or clones of them (f.isra)."""
    kept = {t for t, f in functions.items() if f.name.partition(".")[0] not in left_out}
    return {
        title: replace(f, calls=f.calls & kept, names=f.names & kept)
        for title, f in functions.items()
        if title in kept
    }


def commands(build: Path, compiler: str) -> dict[str, list[str]]:
    """Return how CMake compiles each translation unit of kernels, by target and type."""
    options = ["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", f"-DCMAKE_C_COMPILER={compiler}"]
    subprocess.run(
        ["cmake", "-S", str(CSRC), "-B", str(build), *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        command = shlex.split(entry["command"])
        values = dict(word[2:].split("=") for word in command if re.match("-DSMC_.*=", word))
        if entry["file"].endswith("kernel.c"):
            found[f"{values['SMC_TARGET_NAME']} {values['SMC_D']}"] = command
    return found


def measure(command: list[str], base: Path) -> Nest:
    """Compile with a report, in files that begin so, and return the worst path."""
    assembly = base.with_suffix(".s")
    options = command[: command.index("-o")]
    source = command[command.index("-c") + 1]
    subprocess.run(
        [*options, "-fstack-usage", "-fcallgraph-info=su", "-S", source, "-o", str(assembly)],
        check=True,
    )
    functions = read(base.with_suffix(".ci"), assembly)
    paths = [Graph(without(functions, left_out)).worst() for left_out in APART]
    return max(paths, key=lambda path: path.size)


def main() -> int:
    """Print the worst path for each target; return 1 if one is beyond the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=LIMIT, help="bytes")
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--all", action="store_true", help="print a line for each stored type, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        units = commands(Path(name), arguments.compiler)
        bases = [Path(name, unit.replace(" ", "_")) for unit in units]
        found = dict(zip(units, pool.map(measure, units.values(), bases), strict=True))
    worst: dict[str, tuple[str, Nest]] = {}
    for unit, nest in found.items():
        target = unit.split()[0]
        if target not in worst or worst[target][1].size < nest.size:
            worst[target] = unit, nest
        if arguments.all:
            print(f"{nest.size:7} {unit}")
    for unit, nest in worst.values():
        print(f"{nest.size:7} {unit}: {' > '.join(nest.names)}")
    return int(any(nest.size > arguments.limit for nest in found.values()))


if __name__ == "__main__":
    sys.exit(main())
