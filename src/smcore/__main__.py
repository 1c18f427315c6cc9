"""Run the command line: ``python -m smcore``."""

import io
import sys

from ._cli import main

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    raise SystemExit(main())
