"""Put faults into the kernels and the pool, one at a time: the tests must catch each.

    python tools/mutants.py                      # all of tools/mutants.toml
    python tools/mutants.py --only tile.h        # those whose file or fault has that in it
    python tools/mutants.py --check              # whether all fit the sources; builds nothing
    python tools/mutants.py --emulate avx512     # on a processor without it

A mutant is built in a copy, for one target. Then what is known to catch it follows, and the rest,
until something fails, crashes or hangs. Exit status 1: one survived that the list does not call
equivalent. It wants cmake, ninja and what the package is built and tested with, but not the
package itself: `nox -s mutants`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".toml")
KERNELS = "csrc/"  # what else mutants are in has to do with threads
COPIED = ("csrc", "src", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE")
STORED = ("f32", "f64", "f16", "bf16")  # dtypes
TARGETS = ("scalar", "sse2", "avx2", "avx512")
HANGING = 300  # seconds
# What is linked for each mutant, with its own objects beside the kernels.
PROGRAMS = {
    "check_core": ("check_core.c.o",),
    "libfuzzed_kernels.so": ("shared.c.o", "guarded.c.o"),
}

# Tests that reach every kernel; and those of bits, which want the usual thresholds.
TESTS = {
    "tiny": (
        "ways",
        "products",
        "losses",
        "forward",
        "memory",
        "edges",
        "batch_independence",
        "streaming",
    ),
    "usual": ("bits", "ways", "memory", "accuracy"),
    "threads": ("threads", "concurrency", "signals"),
}
# What of them tells about races, where each operation takes many times as long.
RACES = ("tests/test_threads.py", "-k", "many_python or fork or in_flight or threads_start")


@dataclass(frozen=True)
class Mutant:
    """A fault: in that file `old`, which is there once, becomes `new`."""

    file: str
    fault: str
    old: str
    new: str
    net: str = ""  # what is to catch it
    target: str = "avx2"
    equivalent: str = ""  # why nothing can

    @property
    def is_of_kernels(self) -> bool:
        """Whether what catches it are the tests of kernels; else they are those of threads."""
        return self.file.startswith(KERNELS)

    def misfit(self) -> str:
        """Return what keeps it from being put into the sources, or nothing."""
        place = ROOT / self.file
        if not place.is_file():
            return f"{self.file} is not there, for {self.fault!r}"
        if (found := place.read_text(encoding="utf-8").count(self.old)) != 1:
            return f"{self.file}: {found} times, for {self.fault!r}: {self.old!r}"
        return ""

    def text(self) -> str:
        """Return the file with the fault."""
        return (ROOT / self.file).read_text(encoding="utf-8").replace(self.old, self.new)


class Caught(Exception):
    """A command failed, crashed or hung."""


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Raise Caught unless it exits with 0; what it has started ends with it."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | str = process.wait(HANGING)
        except subprocess.TimeoutExpired:
            status = "it hangs"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if status:
            output.seek(0)
            raise Caught(f"{status}\n" + output.read().decode(errors="replace")[-6000:])


class Shop:
    """A copy of the sources, and what was built of it for the last mutant."""

    def __init__(self, directory: Path, seconds: int, emulated: str) -> None:
        self.directory, self.seconds, self.emulated = directory, seconds, emulated
        self.tree = directory / "tree"
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, self.tree / name)

    def options(self, target: str, form: str) -> list[str]:
        """Return the options of CMake for one form of that target, without the others."""
        is_emulated = target == self.emulated  # by means of avx2
        kept = {target, "scalar", *(["avx2"] if is_emulated else [])}
        return [
            *(f"SMC_COMPILES_{name}=0" for name in TARGETS if name not in kept),
            f"SMCORE_TINY={'ON' if form == 'tiny' else 'OFF'}",
            *([f"SMCORE_EMULATE={target}"] if is_emulated else []),
        ]

    def build(self, mutant: Mutant, form: str) -> Path:
        """Compile its target's kernels, and link the C check and what the fuzzer calls."""
        directory = self.prepared(mutant.target, form)
        build(
            directory, *(f"CMakeFiles/{mutant.target}_{stored}.dir/kernel.c.o" for stored in STORED)
        )
        objects = sorted(directory.rglob("*.o"))
        kernels = [path for path in objects if path.parent.name != "tests"]
        for program, own in PROGRAMS.items():
            parts = [path for path in objects if path.name in own]
            shared = ("-shared",) if program.endswith(".so") else ()
            must("cc", *shared, *kernels, *parts, "-lm", "-o", directory / program)
        return directory

    def prepared(self, target: str, form: str) -> Path:
        """Where everything was built once, of the sources as they are."""
        directory = self.directory / f"core-{form}-{target}"
        if directory.exists():
            return directory
        defined = [f"-D{option}" for option in self.options(target, form)]
        must("cmake", "-G", "Ninja", "-S", self.tree / "csrc", "-B", directory, *defined)
        build(directory, "check_core", "fuzzed_kernels")
        return directory

    def install(self, mutant: Mutant, form: str, flags: str = "") -> dict[str, str]:
        """Compile the package; returns the environment in which Python finds it."""
        name = f"{form}-{mutant.target}"
        options = self.options(mutant.target, form)
        if flags:
            options += [f"CMAKE_C_FLAGS={flags}"]
        site = self.directory / f"site-{name}"
        shutil.rmtree(site, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
        must(
            *(*pip, "--no-build-isolation", "--target", site, self.tree),
            f"-Cbuild-dir={self.directory}/package-{name}",
            *(f"-Ccmake.define.{option}" for option in options),
            env={"SMCORE_BUILD": "c"},
        )
        found = {"PYTHONPATH": str(site), "SMCORE_BACKEND": "native", "PYTHONSAFEPATH": "1"}
        # One that is installed editable comes first.  (Only found: imports may want TSan.)
        find = "from importlib.util import find_spec; "
        place = f"assert {str(site)!r} in find_spec('smcore').origin"
        must(sys.executable, "-c", find + place, env=found)
        return found


def build(directory: Path, *targets: str) -> None:
    """Compile."""
    must("cmake", "--build", directory, "--target", *targets)


def must(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run, or end: a mutant that was not built, and linked, shows nothing."""
    try:
        run(*command, env=env)
    except Caught as error:
        raise SystemExit(f"{command[0]}: {error}") from None


# ---- What may catch a mutant -------------------------------------------------------------------


def check_core(shop: Shop, mutant: Mutant, form: str) -> None:
    """Run the check in C."""
    run(shop.build(mutant, form) / "check_core")


def fuzz(shop: Shop, mutant: Mutant, form: str) -> None:
    """Make random calls of its target's kernels."""
    library = shop.build(mutant, form) / "libfuzzed_kernels.so"
    run(
        *(sys.executable, "tests/fuzz", "kernels", "--library", library),
        *("--target", mutant.target, "--seconds", str(shop.seconds)),
        *("--workers", "1", "--failures", "1"),
        *(("--budget", "6000") if form == "tiny" else ()),
    )


def file_of(name: str) -> str:
    """Return the file of tests of that name."""
    return f"tests/test_{name}.py"


def tests(shop: Shop, mutant: Mutant, form: str) -> None:
    """Run the tests in Python, of its target."""
    environment = shop.install(mutant, form)
    files = [file_of(name) for name in TESTS[form]]
    marks = "not heavy and not usual" if form == "tiny" else "not heavy"
    chosen = ("-m", marks, "-k", "not numpy and not scalar" if mutant.target != "scalar" else "")
    pytest(*files, *chosen, env={**environment, "SMCORE_TARGET": mutant.target})


def races(shop: Shop, mutant: Mutant, form: str) -> None:
    """Run the tests of threads with the thread sanitizer."""
    environment = shop.install(mutant, form, "-fsanitize=thread -g")
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True
    )
    reports = shop.directory / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    environment |= {
        "LD_PRELOAD": runtime.stdout.strip(),
        "TSAN_OPTIONS": f"die_after_fork=0:log_path={reports}/report",
        "PYTHONMALLOC": "malloc",
    }
    pytest(*RACES, "--deselect", "tests/test_threads.py::test_threads_start", env=environment)
    if list(reports.iterdir()):
        raise Caught("a race is reported")


def pytest(*arguments: str, env: dict[str, str]) -> None:
    """Run tests up to the first failure."""
    run(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments, env=env)


Net = tuple[str, Callable[[Shop, Mutant, str], None], str]
OF_KERNELS: tuple[Net, ...] = (
    ("check_core, tiny", check_core, "tiny"),
    ("fuzz, tiny", fuzz, "tiny"),
    ("check_core", check_core, "usual"),
    ("fuzz", fuzz, "usual"),
    ("tests, tiny", tests, "tiny"),
    ("tests", tests, "usual"),
)
OF_THREADS: tuple[Net, ...] = (
    ("threads", tests, "threads"),
    ("races", races, "races"),
)


def nets_of(mutant: Mutant) -> tuple[Net, ...]:
    """Return what may catch it: what is known to, then the fastest first."""
    nets = OF_KERNELS if mutant.is_of_kernels else OF_THREADS
    return tuple(sorted(nets, key=lambda net: net[0] != mutant.net))


def caught_by(shop: Shop, mutant: Mutant) -> str:
    """Return the name of what catches it, or nothing."""
    for name, net, form in nets_of(mutant):
        try:
            net(shop, mutant, form)
        except Caught as caught:
            (shop.directory / "caught.log").open("a").write(f"{mutant.fault}\n{caught}\n\n")
            return name
    return ""


def try_mutant(shop: Shop, mutant: Mutant) -> tuple[str, float]:
    """Put it into the copy, and take it out again."""
    start = time.monotonic()
    place = shop.tree / mutant.file
    if mutant.is_of_kernels:
        for form in ("tiny", "usual"):
            shop.prepared(mutant.target, form)
    place.write_text(mutant.text())
    try:
        caught = caught_by(shop, mutant)
    finally:
        place.write_text((ROOT / mutant.file).read_text())
    return caught, time.monotonic() - start


# ---- The list ----------------------------------------------------------------------------------


def listed() -> list[Mutant]:
    """Return all mutants."""
    with LIST.open("rb") as file:
        return [Mutant(**entry) for entry in tomllib.load(file)["mutant"]]


def misfits() -> list[str]:
    """Return what keeps mutants from being put into the sources, or caught by what is named."""
    mutants = listed()
    nets = {"", *(name for name, *_ in (*OF_KERNELS, *OF_THREADS))}
    files = {file_of(name) for names in TESTS.values() for name in names}
    return [
        *(misfit for mutant in mutants if (misfit := mutant.misfit())),
        *(
            f"{mutant.fault!r}: no net {mutant.net!r}"
            for mutant in mutants
            if mutant.net not in nets
        ),
        *(f"{file} is not there" for file in sorted(files) if not (ROOT / file).is_file()),
    ]


def without_fault(mutants: list[Mutant]) -> list[Mutant]:
    """For each target, and for threads, a mutant that is none: nothing may catch it."""
    kinds = {(m.target, m.is_of_kernels): m for m in mutants}.values()
    return [Mutant(m.file, "no fault", m.old, m.old, "", m.target, "none") for m in kinds]


def report(mutant: Mutant, caught: str, seconds: float) -> bool:
    """Print a line of the table; returns whether it is as it should be."""
    good = not caught if mutant.fault == "no fault" else bool(caught or mutant.equivalent)
    verdict = caught or ("equivalent" if mutant.equivalent else "SURVIVES")
    if not good and caught:
        verdict = f"FAILS: {caught}"
    elsewhere = f" (not by {mutant.net})" if caught and mutant.net not in ("", caught) else ""
    where = f"{Path(mutant.file).name}, {mutant.target}"
    print(f"{where:28} {mutant.fault:64} {seconds:5.0f} s  {verdict}{elsewhere}", flush=True)
    return good


def main() -> int:
    """Return 1 if a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", metavar="PATTERN", help="with this in file or fault")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=int, default=10, help="of random calls")
    parser.add_argument("--scratch", type=Path, help="where to build; otherwise a temporary folder")
    parser.add_argument("--sound", action="store_true", help="the sources as they are, too")
    parser.add_argument("--emulate", default="", choices=["avx512"], help="that target")
    parser.add_argument("--check", action="store_true", help="whether all fit the sources; no more")
    arguments = parser.parse_args()
    if found := misfits():
        print(*found, sep="\n")
        return 1
    if arguments.check:
        return 0
    mutants = [m for m in listed() if arguments.only in f"{m.file}: {m.fault}"]
    if arguments.sound:
        mutants = without_fault(mutants) + mutants
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        shops: queue.Queue[Shop] = queue.Queue()
        for job in range(arguments.jobs):
            shops.put(Shop(Path(scratch, str(job)), arguments.seconds, arguments.emulate))

        def one(mutant: Mutant) -> bool:
            shop = shops.get()
            try:
                return report(mutant, *try_mutant(shop, mutant))
            finally:
                shops.put(shop)

        with ThreadPoolExecutor(arguments.jobs) as pool:
            good = list(pool.map(one, mutants))
    print(f"{len(mutants)} mutants, {good.count(False)} survive")
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
