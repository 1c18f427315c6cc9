"""Run the same command again with another backend.

A backend is chosen once, when smcore is imported, and ``python -m smcore`` has imported it before
the arguments are read. A fresh process is therefore the only honest way to change it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from .errors import CliError


def restart_with_backend(backend: str, argv: Sequence[str]) -> int:
    """Run ``python -m smcore *argv`` in a new process that uses `backend`.

    Parameters
    ----------
    backend : str
        The value of ``SMCORE_BACKEND`` for the new process.
    argv : sequence of str
        The arguments of the command.

    Returns
    -------
    int
        The exit status of the new process.

    Raises
    ------
    CliError
        The backend cannot be had here; the message says why.
    """
    environment = os.environ | {"SMCORE_BACKEND": backend}
    _check_import(backend, environment)
    return subprocess.run([sys.executable, "-m", "smcore", *argv], env=environment).returncode


def _check_import(backend: str, environment: dict[str, str]) -> None:
    """Import smcore in a new process first: a failure there would be a traceback."""
    probe = [sys.executable, "-c", "import smcore; print(smcore.backend())"]
    result = subprocess.run(probe, env=environment, capture_output=True, text=True)
    if result.returncode or result.stdout.strip() != backend:  # the latter would restart for ever
        reason = (result.stderr.strip().splitlines() or ["another backend was loaded"])[-1]
        raise CliError(f"argument --backend: {backend!r} cannot be had here: {reason}")
