"""The order of the gallery, and the style of its plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler

# The palette of Okabe and Ito, told apart without red and green, darkest first.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "figure.figsize": (8, 4.2),
    "font.size": 11,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
ORDER = (
    "training",
    "jacobians",
    "temperature",
    "tail",
    "ulp",
    "attention",
    "out_of_core",
    "newton",
    "label_smoothing",
    "ragged_rows",
    "decision_regions",
    "mixture",
    "softmax_regression",
    "dask",
    "spectrum",
    "speed",
)


class Order:
    """A key to sort by: names as listed above, and those that are not listed last."""

    def __init__(self, directory: str) -> None:
        pass

    def __call__(self, name: str) -> tuple[int, str]:
        """Return the place of an example."""
        topic = Path(name).stem.removeprefix("plot_")
        return (ORDER.index(topic) if topic in ORDER else len(ORDER), topic)


def use_style(gallery: dict[str, Any], file: str) -> None:
    """Give the next example the same style as all others."""
    matplotlib.rcParams.update(STYLE)
