"""Run the command line: ``python -m smcore``."""

from ._cli import main

if __name__ == "__main__":
    raise SystemExit(main())
