"""What proves the packaging: ``nox -l`` lists the sessions, CONTRIBUTING.md tells when to run them.

Only `package` is quick; the others compile. With ccache on the PATH, kernels are compiled once.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import sys
from pathlib import Path

import nox

sys.path.append("tools")
import sanitizers  # noqa: F401 (its sessions)
from zig import CROSS, WINDOWS, X86, foreign_headers, program, this_machine, zig_script

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["package"]
nox.options.default_venv_backend = "venv"

DIST = Path("dist")
IDENTIFIERS = Path("tools/build_identifiers.txt")
LOCKED = Path("tools/locked")
PLATFORMS = ("linux", "macos", "windows", "pyodide", "android", "ios")
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.14t", "3.15", "3.15t"]
STORED = ("f32", "f64", "f16", "bf16")  # dtypes that have kernels
KERNELS = ("csrc/cpu.c", "csrc/dispatch.c")
LARGEST_WHEEL = 3 * 1024 * 1024  # more is an accident
FEWER = 2.5  # how many times fewer instructions than scalar's a target must take
# What is fuzzed, on which form of the kernels, and for how much of the time.
FUZZED = (("kernels", "tiny", 0.6), ("kernels", "usual", 0.15), ("api", "usual", 0.25))


def only(directory: Path, pattern: str) -> Path:
    """Return the one file of that name."""
    (path,) = directory.glob(pattern)
    return path


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of that dependency group."""
    return nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name)


def pinned(name: str, package: str) -> str:
    """Return the requirement of that package in a dependency group."""
    return next(line for line in group(name) if line.startswith(f"{package}=="))


def install_locked(session: nox.Session, name: str) -> None:
    """Install the files that `lock` chose, and no others."""
    session.install("--require-hashes", "--requirement", str(LOCKED / f"{name}.txt"))


def compiling(**variables: str) -> dict[str, str]:
    """Return the environment of a build that must compile."""
    launcher = {"CMAKE_C_COMPILER_LAUNCHER": "ccache"} if shutil.which("ccache") else {}
    return {"SMCORE_BUILD": "c", **launcher, **variables}


def test_installed(session: nox.Session, wheel: Path, *arguments: str) -> None:
    """Install the wheel, and NumPy, and run the tests."""
    session.install(str(wheel), *group("test"))
    session.run("python", "-m", "smcore", "info", env={"SMCORE_BACKEND": "native"})
    session.run("python", "-m", "pytest", "-m", "", *(arguments or session.posargs))


@nox.session
def package(session: nox.Session) -> None:
    """Make the sdist and the pure wheel from it, in dist; check them and the list of wheels."""
    install_locked(session, "package")
    session.install("--no-index", *group("package"))  # fails if the lock is older than the group
    shutil.rmtree(DIST, ignore_errors=True)
    build = ("python", "-m", "build", "--no-isolation", "--outdir", str(DIST))
    session.run(*build, env={"SMCORE_BUILD": "pure"})
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    session.run("check-wheel-contents", str(only(DIST, "*-py3-none-any.whl")))
    identifiers = ("cibuildwheel", "--print-build-identifiers", ".", "--platform")
    found = "".join(str(session.run(*identifiers, name, silent=True)) for name in PLATFORMS)
    if found.split() != IDENTIFIERS.read_text().split():
        Path(session.create_tmp(), "identifiers").write_text(found)
        session.error(f"wheels to build differ from {IDENTIFIERS}; found:\n{found}")


@nox.session
def lock(session: nox.Session) -> None:
    """Write anew which files, by their hashes, releases are made with on any platform."""
    session.install("uv==0.13.9")
    command = ("uv", "pip", "compile", "--universal", "--python-version=3.11", "--upgrade")
    options = ("--generate-hashes", "--no-annotate", "--no-header", "--quiet")
    for name, requirements in {
        "build": group("build"),
        "cibuildwheel": (pinned("package", "cibuildwheel"),),
        "package": group("package"),
        "wheel-jax": group("wheel-jax"),
    }.items():
        wanted = Path(session.create_tmp(), f"{name}.in")
        wanted.write_text("\n".join(requirements))
        locked = LOCKED / f"{name}.txt"
        alone = ("--no-deps",) if name == "wheel-jax" else ()  # of it, headers alone are used
        session.run(*command, *options, *alone, f"--output-file={locked}", str(wanted))
        locked.write_text("# Written by `nox -s lock`.\n" + locked.read_text())


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Compile a wheel for glibc 2.17 with zig, repair and check it, and run the tests on it."""
    session.install(*group("wheel"))
    scratch = Path(session.create_tmp())
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    environment = compiling(CC=zig_script(session, this_machine()))
    session.run("pip", "wheel", "--no-deps", "--wheel-dir", str(scratch), ".", env=environment)
    platform = f"manylinux2014_{os.uname().machine}"
    session.run(
        *("auditwheel", "repair", "-z", "9", "--plat", platform),
        *("--wheel-dir", str(DIST), str(only(scratch, "*.whl"))),
    )
    tag = sysconfig_tag(session)
    repaired = only(DIST, f"*-{tag}-*manylinux*.whl")
    session.run("twine", "check", "--strict", str(repaired))
    session.run("check-wheel-contents", str(repaired))
    check_symbols(session, repaired, scratch)
    test_installed(session, repaired)
    if repaired.stat().st_size > LARGEST_WHEEL:
        session.error(f"{repaired.name} is of {repaired.stat().st_size} bytes")


def sysconfig_tag(session: nox.Session) -> str:
    """Return the tags of the session's Python, as cp314-cp314t."""
    code = (
        "import sys, sysconfig; v = 'cp{}{}'.format(*sys.version_info); "
        "print(v, v + 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')), sep='-')"
    )
    return str(session.run("python", "-c", code, silent=True)).strip()


def check_symbols(session: nox.Session, wheel: Path, scratch: Path) -> None:
    """Check that the module exports PyInit__core alone, and names no directory of this machine.

    The addresses of functions that it calls must be read-only once it is loaded.
    """
    shutil.unpack_archive(wheel, scratch / "unpacked", "zip")
    module = only(scratch / "unpacked/smcore", "_core.*.so")
    symbols = str(
        session.run("nm", "--dynamic", "--defined-only", str(module), silent=True, external=True)
    )
    exported = {line.split()[-1] for line in symbols.splitlines()}
    if exported != {"PyInit__core"}:
        session.error(f"{module.name} exports {sorted(exported)}")
    if os.fsencode(Path.cwd()) in module.read_bytes():
        session.error(f"{module.name} contains the name of the source directory")
    readelf = ("readelf", "--wide", "--dynamic", "--program-headers", str(module))
    headers = str(session.run(*readelf, silent=True, external=True))
    if not re.search(r"\bBIND_NOW\b|\bFlags:.* NOW\b", headers) or "GNU_RELRO" not in headers:
        session.error(f"{module.name} is not linked with -z now and -z relro")


@nox.session
def bits(session: nox.Session) -> None:
    """Compile with Clang, as zig has it: the bits of results are those stored."""
    session.install(pinned("wheel", "ziglang"))
    environment = compiling(CC=zig_script(session, this_machine()))
    session.install(".", *group("test"), env=environment)
    session.run("python", "-m", "smcore", "info", env={"SMCORE_BACKEND": "native"})
    session.run("python", "benchmarks/bits.py", "--threads", "2", *session.posargs)


@nox.session
def reproducible(session: nox.Session) -> None:
    """Compile in two directories, with what releases are made with: the same bytes."""
    install_locked(session, "build")
    files = str(session.run("git", "ls-files", silent=True, external=True)).split()
    built = []
    for name in ("one", "another/further/down"):
        root = Path(session.create_tmp(), name)
        shutil.rmtree(root, ignore_errors=True)
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / file)
        with session.chdir(root):
            environment = {"SMCORE_BUILD": "c", "SOURCE_DATE_EPOCH": "1700000000"}
            session.run("pip", "wheel", "--no-build-isolation", "--no-deps", ".", env=environment)
        built.append(only(root, "*.whl").read_bytes())
    if built[0] != built[1]:
        session.error("the wheels differ")


@nox.session
def old_compiler(session: nox.Session) -> None:
    """With a compiler that knows no AVX-512 that target drops out, with a message."""
    scratch = Path(session.create_tmp())
    compiler = program(
        scratch / "old-cc",
        'case " $* " in *" -mavx512f "*) echo "no -mavx512f" >&2; exit 1;; esac\nexec cc "$@"\n',
    )
    log = session.run("pip", "install", "--verbose", ".", silent=True, env=compiling(CC=compiler))
    if "the compiler cannot build target avx512; built without it" not in str(log):
        session.error("no message")
    targets = session.run("python", "-c", "import smcore; print(*smcore.targets())", silent=True)
    if not {"scalar"} < set(str(targets).split()) <= X86 - {"avx512"}:
        session.error(f"targets: {targets}")


@nox.session
def offline(session: nox.Session) -> None:
    """Without an index, a compiler or CMake: the pure wheel, and a build from the sdist."""
    session.install("scikit-build-core>=1.1", "numpy")
    is_pure = "import smcore; smcore.show_config(); assert smcore.backend() == 'numpy'"
    nothing = {"PIP_NO_INDEX": "1", "CC": "/bin/false", "PATH": session.bin}
    session.run("pip", "install", str(only(DIST, "*-py3-none-any.whl")), env=nothing)
    session.run("python", "-c", is_pure)
    session.run(
        *("pip", "install", "--no-build-isolation", "--force-reinstall", "--no-deps"),
        str(only(DIST, "*.tar.gz")),
        env={**nothing, "SMCORE_BUILD": "pure"},
    )
    session.run("python", "-c", is_pure)


@nox.session
def cross(session: nox.Session) -> None:
    """Link the module and the kernels' check for each platform with a wheel, or those named."""
    session.install(*group("build"), pinned("wheel", "ziglang"))
    scratch = Path(session.create_tmp()).absolute()
    python = Path(session.bin, "python").absolute()
    headers = foreign_headers(session, scratch)
    for triple in session.posargs or CROSS:
        unresolved = ""  # the interpreter's symbols: ELF asks for nothing
        if "macos" in triple:
            unresolved = "-Wl,-undefined,dynamic_lookup"
        elif "windows" in triple:
            unresolved = str(scratch / f"{triple}.lib")
            machine = WINDOWS[triple.split("-")[0]]
            session.run(
                *("python", "-m", "ziglang", "dlltool", "-m", machine),
                *("-d", str(scratch / "python.def"), "-l", unresolved),
            )
        for source in (".", "csrc"):
            build = scratch / triple / Path(source).absolute().name
            shutil.rmtree(build, ignore_errors=True)
            session.run(
                *("cmake", "-G", "Ninja", "-S", source, "-B", str(build)),
                f"-DCMAKE_C_COMPILER={zig_script(session, triple)}",
                f"-DCMAKE_AR={zig_script(session, triple, 'ar')}",
                f"-DCMAKE_RANLIB={zig_script(session, triple, 'ranlib')}",
                f"-DCMAKE_MODULE_LINKER_FLAGS={unresolved}",
                "-DCMAKE_LINK_DEPENDS_USE_LINKER=OFF",
                "-DCMAKE_SKIP_RPATH=ON",
                f"-DPython_EXECUTABLE={python}",
                f"-DPython_INCLUDE_DIR={headers}",
                f"-DPython_NumPy_INCLUDE_DIR={headers}",
                "-DSKBUILD_PROJECT_VERSION=0",
                env=compiling(),
            )
            session.run("cmake", "--build", str(build))
            found = {path.parent.name for path in build.rglob("*_f32.dir/kernel.c.o")}
            if found != {f"{name}_f32.dir" for name in CROSS[triple]}:
                session.error(f"targets for {triple}: {sorted(found)}")


@nox.session
def webassembly(session: nox.Session) -> None:
    """Check the kernels in WebAssembly, and count the instructions that a row of 1000 takes."""
    session.install("cmake", "ninja", "wasmtime", pinned("wheel", "ziglang"))
    scratch = Path(session.create_tmp()).absolute()
    # zig does not know -msimd128
    known = 'case " $* " in *" -msimd128 "*) set -- -mcpu=generic+simd128 "$@"; esac\n'
    build = scratch / "build"
    shutil.rmtree(build, ignore_errors=True)
    session.run(
        *("cmake", "-G", "Ninja", "-S", "csrc", "-B", str(build)),
        f"-DCMAKE_C_COMPILER={zig_script(session, 'wasm32-wasi', before=known)}",
        "-DCMAKE_SYSTEM_NAME=Generic",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
    )
    session.run("cmake", "--build", str(build))

    def run(name: str, *arguments: str) -> str:
        wasm = str(only(build, name + "*"))
        return str(session.run("python", "tools/run_wasm.py", wasm, *arguments, silent=True))

    if not {"generic: OK", "scalar: OK"} <= set(run("check_core").splitlines()):
        session.error("the check fails")
    per_row = {}
    for target in ("generic", "scalar"):
        one, eleven = (int(run("softmax_rows", target, n).split()[-2]) for n in ("1", "11"))
        per_row[target] = (eleven - one) // 10
    session.log(f"instructions: {per_row}")
    if per_row["scalar"] < FEWER * per_row["generic"]:
        session.error(f"not {FEWER} times fewer")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in build/docs/html: every example runs, a warning is an error; check it.

    `-- torch` installs PyTorch, too: smcore.torch is shown where it is.
    """
    session.install(".", *group("docs"), *session.posargs, env=compiling())
    site = "build/docs/html"
    options = ("-E", "-a", "-W", "--keep-going", "-n", "-q", "-d", "build/docs/doctrees")
    session.run("python", "-m", "sphinx", *options, "docs", site)
    session.run("python", "tools/check_site.py", site)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Make random calls for a minute, or `-- --minutes N`; others with `--seed S`.

    Of the same build, the plans are those that docs/kernels.md shows.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args(session.posargs)
    session.install("cmake", "ninja")
    session.install(".", *group("test"), env=compiling())
    scratch = Path(session.create_tmp()).absolute()
    libraries = {}
    configure = ("cmake", "-G", "Ninja", "-S", "csrc", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON")
    for form in ("tiny", "usual"):
        tiny = f"-DSMCORE_TINY={'ON' if form == 'tiny' else 'OFF'}"
        session.run(*configure, "-B", str(scratch / form), tiny, silent=True)
        session.run("cmake", "--build", str(scratch / form), "--target", "fuzzed_kernels")
        libraries[form] = str(scratch / form / "libfuzzed_kernels.so")
    session.run("cmake", "--build", str(scratch / "usual"), "--target", "plan_table")
    session.run("python", "docs/drawings.py", "--plans", str(scratch / "usual" / "plan_table"))
    for what, form, share in FUZZED:
        seconds = 60 * arguments.minutes * share
        session.run(
            *("python", "tests/fuzz", what, "--library", libraries[form]),
            *("--seconds", f"{seconds:.0f}", "--seed", arguments.seed),
            *("--budget", "6000") * (form == "tiny"),
        )


@nox.session
def stack(session: nox.Session) -> None:
    """Bound the stack that kernels need, as GCC reports it; `-- --limit BYTES`."""
    session.install("cmake", "ninja")
    session.run("python", "tools/stack_usage.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Put faults into kernels and pool: tests catch each. Arguments are tools/mutants.py's."""
    session.install(*group("build"), *group("test"))
    session.run("python", "tools/mutants.py", *session.posargs)


@nox.session(venv_backend="none")
def msvc(session: nox.Session) -> None:
    """Read the C sources as on Windows, with clang-cl: x86-64, arm64, 32-bit x86."""
    compiler = next(filter(shutil.which, ("clang-cl", "clang-cl-19")), None)
    if compiler is None:
        session.error("clang-cl is needed; Debian has it in clang-tools-19")
    headers = ("/clang:-fsyntax-only", "/clang:-ffreestanding", "-Itools/msvc", "-Icsrc")
    options = ("/std:c11", "/W3", "/WX", "/fp:precise", "/clang:-ffp-contract=off", *headers)
    for machine, targets in {
        "x86_64": {"scalar": [], "sse2": [], "avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]},
        "aarch64": {"scalar": [], "neon": []},
        "i686": {"scalar": ["/arch:SSE2"], "sse2": ["/arch:SSE2"]},
    }.items():
        command = (compiler, f"--target={machine}-pc-windows-msvc", *options)
        have = [f"-DSMC_HAVE_{target}" for target in targets]
        session.run(*command, *have, "/c", *KERNELS, external=True)
        for (target, flags), stored in itertools.product(targets.items(), STORED):
            computed = "f64" if stored == "f64" else "f32"
            defined = (f"-DSMC_TARGET_NAME={target}", f"-DSMC_D={stored}", f"-DSMC_T={computed}")
            session.run(*command, *flags, *defined, "/c", "csrc/kernel.c", external=True)


@nox.session(venv_backend="none")
def free_threaded(session: nox.Session) -> None:
    """Install for a free-threaded Python, named after --, and run the tests: the GIL stays off."""
    python, *arguments = session.posargs
    environment = Path(session.create_tmp(), "environment")
    session.run(python, "-m", "venv", "--clear", str(environment), external=True)
    python = str(environment / "bin/python")
    # Of a package that has dropped this Python, the last version with a wheel.
    install = (python, "-m", "pip", "install", "--prefer-binary")
    session.run(*install, "--quiet", "pip>=25.1", *group("test"), external=True)
    session.run(*install, ".", env=compiling(PIP_PREFER_BINARY="1"), external=True)
    code = "import smcore, sys; assert smcore.backend() == 'native' and not sys._is_gil_enabled()"
    session.run(python, "-W", "error", "-c", code, external=True)
    session.run(python, "-m", "pytest", "-m", "", *arguments, external=True)
