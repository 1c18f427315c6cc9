"""What compiles for any platform: zig's compilers, and headers of Python and NumPy for all."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nox

X86 = {"avx512", "avx2", "sse2", "scalar"}
ARM = {"neon", "scalar"}
# What there are wheels for, as zig names it, and the targets that the kernels have there.
CROSS = {
    "x86_64-linux-gnu.2.17": X86,
    "x86_64-linux-musl": X86,
    "aarch64-linux-gnu.2.17": ARM,
    "aarch64-linux-musl": ARM,
    "x86_64-macos": X86,
    "aarch64-macos": ARM,
    "x86_64-windows-gnu": X86,
    "aarch64-windows-gnu": ARM,
    "x86-windows-gnu": {"sse2", "scalar"},
    "x86-linux-gnu": {"sse2", "scalar"},
    "arm-linux-gnueabihf": {"scalar"},
    "powerpc64le-linux-gnu": {"generic", "scalar"},
    "riscv64-linux-gnu": {"scalar"},
    "s390x-linux-gnu": {"generic", "scalar"},
}
WINDOWS = {"x86_64": "i386:x86-64", "aarch64": "arm64", "x86": "i386"}  # as dlltool names them


def program(path: Path, text: str) -> str:
    """Write a shell script and return its absolute path."""
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path.absolute())


def zig_script(session: nox.Session, target: str, tool: str = "cc", before: str = "") -> str:
    """Write a script that runs this tool of zig's for that target; return its absolute name."""
    python = Path(session.bin, "python").absolute()
    options = f"-target {target} " if tool == "cc" else ""
    # -I: or it would look for ziglang in pip's environment of the build.
    text = f'{before}exec "{python}" -I -m ziglang {tool} {options}"$@"\n'
    return program(Path(session.create_tmp(), f"{target}-{tool}"), text)


def this_machine() -> str:
    """Return this machine as zig names it, with the glibc of manylinux2014.

    So named, it is any processor of its architecture: without a name, zig compiles for this one.
    """
    return f"{os.uname().machine}-linux-gnu.2.17"


def foreign_headers(session: nox.Session, scratch: Path) -> Path:
    """Copy the headers of Python and NumPy, with the sizes of types as any compiler knows them.

    Beside them, python.def names all that the headers declare, for Windows.
    """
    code = "import numpy, sysconfig; print(sysconfig.get_path('include'), numpy.get_include())"
    headers = scratch / "include"
    shutil.rmtree(headers, ignore_errors=True)
    for directory in str(session.run("python", "-c", code, silent=True)).split():
        shutil.copytree(directory, headers, dirs_exist_ok=True)
    shutil.copy("tools/cross/pyconfig.h", headers)
    sizes = headers / "numpy/_numpyconfig.h"
    text = re.sub(r"(NPY_SIZEOF_LONG) \d+", r"\1 __SIZEOF_LONG__", sizes.read_text())
    text = re.sub(r"(NPY_SIZEOF_(?:PY_INTPTR_T|INTP|UINTP)) \d+", r"\1 __SIZEOF_POINTER__", text)
    text = re.sub(r"(NPY_SIZEOF_LONGDOUBLE) \d+", r"\1 __SIZEOF_LONG_DOUBLE__", text)
    sizes.write_text(text.replace("#define NPY_HAVE_ENDIAN_H 1", ""))
    declared = "".join(path.read_text() for path in headers.glob("**/*.h"))
    functions = set(re.findall(r"PyAPI_FUNC\([^)]*\)[\s\w*]*?(\w+)\s*\(", declared))
    data = set(re.findall(r"PyAPI_DATA\([^)]*\)\s*\**\s*(\w+)", declared))
    exports = [*sorted(functions), *(f"{name} DATA" for name in sorted(data))]
    (scratch / "python.def").write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *exports]))
    return headers
