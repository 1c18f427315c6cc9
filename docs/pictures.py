"""Draw the pictures of the README, accuracy.png and speed.png, in ``docs/pictures``.

    python docs/pictures.py

What smcore and SciPy (and PyTorch, if it is installed) lose is measured here; times are those
stored in ``benchmarks/results``.  Needs SciPy and matplotlib: the extra [bench].
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import special

import smcore

DOCS = Path(__file__).parent
sys.path.append(str(DOCS / "_ext"))
from gallery_order import STYLE  # noqa: E402
from stored_runs import runs  # noqa: E402

Logits = NDArray[np.float32]
COLOURS = {
    "smcore": "C0", "scipy": "C1", "pytorch": "C4", "numpy": "C3", "jax": "C2", "onnxruntime": "C5",
}  # fmt: skip
NAMES = {"scipy": "SciPy", "pytorch": "PyTorch", "numpy": "NumPy", "jax": "JAX"}
NAMES["onnxruntime"] = "ONNX Runtime"


def log_softmaxes(x: Logits) -> dict[str, Logits]:
    """Return the log-softmax of the rows by all that are here."""
    found = {"scipy": special.log_softmax(x, axis=-1)}
    try:
        import torch
    except ImportError:
        pass
    else:
        found["pytorch"] = torch.log_softmax(torch.from_numpy(x), -1).numpy()
    return found | {"smcore": smcore.log_softmax(x)}


def draw_tail(axis: Any) -> None:
    """Draw the relative error of the log-probability of a class that is ever more sure."""
    x = np.zeros((121, 10), np.float32)
    x[:, 0] = leads = np.linspace(0, 60, 121)
    exact = -np.log1p(9 * np.exp(-leads))
    for name, log_s in log_softmaxes(x).items():
        error = np.maximum(np.abs(log_s[:, 0] / exact - 1), 1e-9)
        axis.semilogy(leads, error, COLOURS[name], lw=2, label=NAMES.get(name, name))
    axis.set(xlabel="lead of the first of 10 logits", ylabel="relative error")
    axis.set_title("log-probability of a sure prediction", fontsize=11)
    axis.legend(loc="center right")


def draw_ulp(axis: Any) -> None:
    """Draw the largest error of softmax in ulp over the spread of the logits."""
    rng = np.random.default_rng(0)
    spreads = np.geomspace(0.1, 1000, 17)
    peers = {"scipy": lambda x: special.softmax(x, axis=-1), "smcore": smcore.softmax}
    rows = [(spread * rng.standard_normal((256, 1000))).astype(np.float32) for spread in spreads]
    for name, softmax in peers.items():
        errors = []
        for x in rows:
            exact = smcore.softmax(x, dtype=np.float64)
            spacing = np.spacing(exact.astype(np.float32)).astype(np.float64)
            errors.append(np.max(np.abs(softmax(x) - exact) / spacing))
        axis.loglog(spreads, errors, f"{COLOURS[name]}o-", lw=2, ms=4)
    axis.set(xlabel="spread of the logits", ylabel="largest error, ulp")
    axis.set_title("softmax of 1000 classes", fontsize=11)


def draw_times(axis: Any, processor: str, run: dict[str, Any]) -> None:
    """Draw the time of softmax over the number of classes."""
    cells = {}
    for cell in run["cells"]:
        usual = cell["op"] == "softmax" and cell["dtype"] == "float32" and cell["axis"] == -1
        if usual and cell["elements"] >= 40_000:
            cells.setdefault(cell["classes"], cell)
    for name, colour in COLOURS.items():
        points = [
            (k, cell["times"][name]["min_ns"] / cell["elements"])
            for k, cell in sorted(cells.items())
            if name in cell["times"]
        ]
        width = 3 if name == "smcore" else 1.5
        label = NAMES.get(name, name)
        axis.loglog(*zip(*points, strict=True), f"{colour}o-", ms=3, lw=width, label=label)
    axis.set(xlabel="classes")
    axis.set_title(processor, fontsize=11)


def save(figure: Any, name: str) -> None:
    """Write a picture without the version of matplotlib."""
    figure.savefig(DOCS / "pictures" / f"{name}.png", dpi=160, metadata={"Software": None})


def main() -> None:
    """Draw both."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update(STYLE)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    draw_tail(axes[0])
    draw_ulp(axes[1])
    save(figure, "accuracy")

    found = runs()
    figure, axes = plt.subplots(1, len(found), figsize=(9, 3.2), sharey=True, squeeze=False)
    for axis, (processor, run) in zip(axes[0], found.items(), strict=True):
        draw_times(axis, processor, run)
    axes[0, 0].set_ylabel("softmax of float32, ns per element")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, "speed")


if __name__ == "__main__":
    main()
