"""What the times depend on: processor, targets, libraries, settings."""

from __future__ import annotations

import contextlib
import io
import os
import platform
from pathlib import Path

import numpy as np
import threadpoolctl

import smcore

from . import settings


def describe() -> dict[str, str]:
    """Return it as text by label."""
    count = {"threads": str(settings.threads())}
    return {"processor": _processor()} | _smcore() | count | _numpy() | {"set": _settings()}


def _settings() -> str:
    names = (*settings.KEEP_MEMORY, "XLA_FLAGS", *settings.UNSET)
    return " ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)


def _smcore() -> dict[str, str]:
    """Read what `smcore.show_config` prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        smcore.show_config()
    lines = (line.partition(" ") for line in text.getvalue().splitlines())
    return {label: value.strip() for label, _, value in lines}


def _numpy() -> dict[str, str]:
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    kernels = (
        f"{pool['internal_api']} {pool['version']}, kernel {pool.get('architecture', 'unknown')}, "
        f"{pool['num_threads']} thread{'s' if pool['num_threads'] > 1 else ''} "
        f"({Path(pool['filepath']).name})"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    )
    return {
        "NumPy SIMD": ", ".join([*simd.get("baseline", ()), *simd.get("found", ())]) or "unknown",
        "BLAS": "; ".join(kernels) or "unknown",
    }


def _processor() -> str:
    """Return the processor's name; only Linux keeps it in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
