"""The stored measurements: each file of ``benchmarks/results`` is a run on one processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TITLES = {  # of the files, which are named by vendor, family and model
    "amd-25-1": "AMD Zen 3",
    "amd-25-17": "AMD Zen 4",
    "amd-26-2": "AMD Zen 5",
    "intel-6-207": "Intel Emerald Rapids",
}


def runs() -> dict[str, dict[str, Any]]:
    """Return the stored runs, by the name of the processor."""
    files = sorted(RESULTS.glob("*.json"))
    return {
        TITLES.get(file.stem, file.stem): json.loads(file.read_text(encoding="utf-8"))
        for file in files
    }
