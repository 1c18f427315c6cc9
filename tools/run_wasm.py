"""Run a program of WebAssembly that asks for a system (WASI): run_wasm.py PROGRAM [argument...].

What it prints is followed by the number of instructions that it took, by wasmtime's account.
"""

from __future__ import annotations

import sys

import wasmtime

ENOUGH = 2**62


def run(program: str, *arguments: str) -> tuple[int, int]:
    """Return the program's exit code and the number of its instructions."""
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    system = wasmtime.WasiConfig()
    system.argv = (program, *arguments)
    system.inherit_stdout()
    system.inherit_stderr()
    store = wasmtime.Store(engine)
    store.set_wasi(system)
    store.set_fuel(ENOUGH)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    module = linker.instantiate(store, wasmtime.Module.from_file(engine, program))
    code = 0
    try:
        module.exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        code = end.code
    return code, ENOUGH - store.get_fuel()


if __name__ == "__main__":
    code, instructions = run(*sys.argv[1:])
    print(f"\n{instructions} instructions")
    sys.exit(code)
