"""The command line of smcore: parse, run one command, turn every failure into one line.

The commands use nothing but the public functions of the package. Each lives in a module of its
own that is imported when it is called, so that all but ``train`` need NumPy alone.

Exit status: 0 done, 2 a mistake in the request or the data, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import smcore

from .errors import CliError
from .parser import build_parser
from .restart import restart_with_backend

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process (``sys.argv[1:]``) by default.

    Returns
    -------
    int
        The exit status. Nothing is raised for mistakes of the user.
    """
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(argv)
        sys.stdout.flush()  # a closed pipe shows here rather than when the interpreter ends
        return status
    except SystemExit as stop:  # argparse: --help, --version, error
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has read enough; keep the final flush from complaining
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(argv: Sequence[str]) -> int:
    name = os.path.basename(sys.argv[0] or "")
    parser = build_parser("smcore" if name.startswith("smcore") else "python -m smcore")
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        if arguments.backend not in (None, smcore.backend()):
            return restart_with_backend(arguments.backend, argv)
        arguments.run(arguments)
    except CliError as error:
        arguments.parser.error(str(error))
    return 0
