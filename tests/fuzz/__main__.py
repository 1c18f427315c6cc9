"""Random calls, each of which must keep what is promised, between pages that must not be touched.

    cmake -S csrc -B build/fuzz && cmake --build build/fuzz --target fuzzed_kernels
    python tests/fuzz kernels --library build/fuzz/libfuzzed_kernels.so --seconds 60
    python tests/fuzz api --library build/fuzz/libfuzzed_kernels.so --seconds 60

A failure is printed with the command that repeats it alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]


def main() -> int:
    """Return 1 if a case fails."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["kernels", "api"])
    parser.add_argument("--library", type=Path, required=True, help="what fuzzed_kernels builds")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one alone, described before it is run")
    parser.add_argument("--cases", type=int, help="no more than so many")
    parser.add_argument("--budget", type=int, default=70_000, help="elements of a call, at most")
    parser.add_argument("--target", help="one of the kernels' targets; all of them otherwise")
    parser.add_argument("--operation", help="one of the kernels; all of them otherwise")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--failures", type=int, default=10, help="after which a worker ends")
    arguments = parser.parse_args()

    from fuzz import exact, kernels
    from fuzz.call import Wrong
    from fuzz.runner import Runner

    command = (
        f"python tests/fuzz {arguments.what} --library {arguments.library} --seed {arguments.seed}"
    )
    if not arguments.library.is_file():
        parser.error(f"--library must be a file; found {arguments.library}")
    if arguments.what == "kernels":
        if not exact.has_digits():
            parser.error("np.longdouble has too few digits here to judge float64")
        make = partial(
            kernels.Fuzzer,
            *(arguments.library, arguments.seed, arguments.budget),
            *(arguments.target, arguments.operation),
        )
        command += f" --budget {arguments.budget}"
        command += f" --target {arguments.target}" if arguments.target else ""
        command += f" --operation {arguments.operation}" if arguments.operation else ""
    else:
        from fuzz import api  # which needs the package, as the kernels do not

        make = partial(api.Fuzzer, arguments.library, arguments.seed)
    runner = Runner(make, command, arguments.workers, arguments.failures)
    if arguments.case is None:
        return int(runner.run(arguments.seconds, 0, arguments.cases) > 0)
    fuzzer = make()
    fuzzer.announce = True
    try:
        fuzzer.run(arguments.case)
    except Wrong as error:
        print(f"  {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
