"""How much memory can still be had, so that a matrix too large is refused before it is written.

Where memory is overcommitted (Linux, macOS) the allocation of such a matrix succeeds, and the
process is killed while it writes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["available"]

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def available() -> int:
    """Return how many bytes one may hope to fill: an upper bound, `sys.maxsize` if unknown.

    On Linux that is what could be used without taking memory from other processes, swap included,
    or the limit of a control group (a container) if that is lower; elsewhere all of the memory.
    """
    return min(_of_the_system(), *_limits_of_control_groups(), sys.maxsize)


def _of_the_system() -> int:
    with suppress(OSError, LookupError, ValueError):  # not Linux
        lines = (line.split() for line in (_PROC / "meminfo").read_text().splitlines())
        kibibytes = {words[0]: int(words[1]) for words in lines}
        return (kibibytes["MemAvailable:"] + kibibytes["SwapFree:"]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows, which does not overcommit
        return sys.maxsize


def _limits_of_control_groups() -> Iterator[int]:
    """Yield the limits on this process's control group and the groups around it (version 1 or 2).

    A container may see its own group as the root, whatever the path says.
    """
    try:
        groups = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, _, controllers_and_path = group.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        if controllers == "":
            root, name = _CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for place in (folder, *folder.parents):
            with suppress(OSError, ValueError):  # not there, or "max"
                yield int((place / name).read_text())
            if place == root:
                break
