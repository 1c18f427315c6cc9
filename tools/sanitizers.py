"""Sessions of nox: the kernels, the pool and the module of Cython under GCC's sanitizers.

Only what is compiled here is instrumented; Python and NumPy are as they come. Reports go to files,
as the tests start other interpreters, which report, too: a session fails if there is one, whatever
the tests say. Arguments after ``--`` are pytest's, in place of the tests that are chosen here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

FLAGS = {
    "address": "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer",
    "thread": "-fsanitize=thread -fno-omit-frame-pointer",
}
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}
OPTIONS = {
    # No leaks: Python keeps what it has until the end. Too large a request fails, as without ASan.
    "address": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=1:print_stacktrace=1",
    "thread": "die_after_fork=0",  # in children that start threads of their own
}
ALIVE = {"address": "__asan_report_load8", "thread": "__tsan_read8"}  # what the module calls then

# Every kernel, on every target, in each dtype that it has: some 24 000 tests.
KERNEL_TESTS = (
    *("concurrency", "edges", "fast_path", "forward", "hessians", "layer", "losses", "masked"),
    *("memory", "out_of_memory", "products", "streaming", "threads", "where"),
)
THREAD_TESTS = ("concurrency", "threads")
# Tests that count threads, and what is mapped: TSan has a thread, and maps for each.
COUNTING = ("test_threads_start_when_they_are_needed", "test_threads_have_stacks_of_their_own_size")

CHECK = """
import sys, smcore
smcore.show_config()
module = smcore._backend.core.__file__
assert smcore.backend() == "native" and sys.argv[1].encode() in open(module, "rb").read(), module
"""


def tests(*names: str) -> list[str]:
    """Return pytest's arguments for these files, without what reaches no kernel."""
    return [*(f"tests/test_{name}.py" for name in names), "-k", "not numpy and not longdouble"]


def scratch(session: nox.Session) -> Path:
    """Return the absolute name of the session's directory for builds and reports."""
    return Path(session.create_tmp()).absolute()


def install(session: nox.Session, sanitizer: str) -> dict[str, str]:
    """Compile and install the package, and return the environment to run it in."""
    groups = nox.project.load_toml("pyproject.toml")
    session.install("numpy", "pytest-xdist", *nox.project.dependency_groups(groups, "test"))
    session.run(
        *("pip", "install", "--force-reinstall", "--no-deps", "."),
        f"-Cbuild-dir={scratch(session)}/module",
        "-Ccmake.build-type=RelWithDebInfo",
        "-Cinstall.strip=false",
        f"-Ccmake.define.CMAKE_C_FLAGS={FLAGS[sanitizer]}",
        env={"SMCORE_BUILD": "c", "CC": "gcc"},
    )
    runtime = ("gcc", f"-print-file-name={RUNTIMES[sanitizer]}")
    options = f"{OPTIONS[sanitizer]}:log_path={scratch(session)}/reports/report"
    environment = {
        "LD_PRELOAD": str(session.run(*runtime, silent=True, external=True)).strip(),
        "PYTHONMALLOC": "malloc",  # or Python would cut its blocks from larger ones
        "SMCORE_BACKEND": "native",  # or the NumPy backend would hide a module that does not load
        **dict.fromkeys(("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"), options),
    }
    session.run("python", "-c", CHECK, ALIVE[sanitizer], env=environment)
    return environment


def run(session: nox.Session, *command: str, env: dict[str, str]) -> None:
    """Run a command and print the reports; fail if there are any, or if the command fails."""
    directory = scratch(session) / "reports"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        session.run(*command, env=env, external=True)
    finally:
        reports = sorted(directory.iterdir())
        for report in reports:
            print(report.read_text(errors="replace"))
    if reports:
        session.error(f"processes with reports: {len(reports)}")


@nox.session(tags=["sanitize"])
def asan(session: nox.Session) -> None:
    """Check addresses and undefined behaviour: the C check, tests of all kernels, the fuzzer."""
    environment = install(session, "address")
    compiler = ("gcc", *FLAGS["address"].split(), "-g", "-fPIC", "-Icsrc")
    kernels = str(scratch(session) / "module/csrc/libsmcore_kernels.a")
    program, library = (str(scratch(session) / name) for name in ("check_core", "fuzzed.so"))
    sources = ("csrc/tests/check_core.c", kernels, "-lm")
    session.run(*compiler, "-o", program, *sources, external=True)
    run(session, program, env={**environment, "LD_PRELOAD": ""})
    chosen = session.posargs or ["-n", "auto", *tests(*KERNEL_TESTS)]
    run(session, "python", "-m", "pytest", *chosen, env=environment)
    if not session.posargs:
        sources = ("csrc/tests/shared.c", "csrc/tests/guarded.c", kernels)
        session.run(*compiler, "-shared", "-o", library, *sources, external=True)
        for what in ("kernels", "api"):
            fuzz = ("python", "tests/fuzz", what, "--library", library, "--seconds", "60")
            run(session, *fuzz, env=environment)


@nox.session(tags=["sanitize"])
def tsan(session: nox.Session) -> None:
    """Check for races: the tests of threads, of many callers at once and of forks."""
    environment = install(session, "thread")
    chosen = session.posargs or ["-m", "", *tests(*THREAD_TESTS)]  # on every target
    for name in COUNTING:
        chosen = [*chosen, "--deselect", f"tests/test_threads.py::{name}"]
    run(session, "python", "-m", "pytest", *chosen, env=environment)
