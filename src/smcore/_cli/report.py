"""The picture of a training: loss, confusion, weights, and the Jacobian where it is liveliest."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

Array = NDArray[Any]

DPI = 110
MOST_ANNOTATED = 14  # classes up to which the cells of a matrix carry their number
MOST_NAMED = 40  # names up to which every row or column is named
MOST_IMAGES = 40  # classes whose weights are drawn as images
DIVERGING = "RdBu_r"


@dataclass(frozen=True)
class Report:
    """What the picture shows; `row` is the least certain row of the test, in its own units."""

    classes: Sequence[str]
    features: Sequence[str]
    image_shape: tuple[int, int] | None
    train_loss: Sequence[float]
    test_loss: Sequence[float]
    test_accuracy: float
    confusion: Array
    weights: Array
    row: Array
    row_class: int
    probabilities: Array
    jacobian: Array


def draw(report: Report) -> bytes:
    """Draw the report and return it as a PNG."""
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(14, 16), dpi=DPI, layout=layout)
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=[1, 0.85, 1]).flat
    loss_axes, confusion_axes = top.subplots(1, 2)
    _draw_loss(loss_axes, report)
    _draw_confusion(confusion_axes, report)
    if report.image_shape is None:
        _draw_weight_map(middle, report)
    else:
        _draw_weight_images(middle, report, report.image_shape)
    _draw_least_certain(bottom, report)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_loss(axes: Axes, report: Report) -> None:
    epochs = range(1, len(report.train_loss) + 1)
    marker = "o" if len(epochs) == 1 else ""
    axes.plot(epochs, report.train_loss, marker=marker, label="training rows")
    axes.plot(epochs, report.test_loss, marker=marker, label="test rows")
    axes.set(title="Loss after each epoch", xlabel="epoch", ylabel="mean cross-entropy")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_confusion(axes: Axes, report: Report) -> None:
    image = axes.imshow(report.confusion, cmap="Blues", vmin=0)
    _annotate(axes, report.confusion, "{:d}", dark=report.confusion > report.confusion.max() / 2)
    axes.set_title(f"Confusion matrix of the test rows ({report.test_accuracy:.1%} correct)")
    axes.set(xlabel="predicted class", ylabel="true class")
    _name_ticks(axes, report.classes, report.classes)
    _add_colorbar(axes, image, "test rows").locator = MaxNLocator(integer=True)


def _draw_weight_images(figure: SubFigure, report: Report, shape: tuple[int, int]) -> None:
    names = report.classes[:MOST_IMAGES]
    columns = min(len(names), 5 if len(names) <= 10 else 10)
    rows = math.ceil(len(names) / columns)
    panels = figure.subplots(rows, columns, squeeze=False)
    limit = _limit(report.weights)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, name, weights in zip(panels.flat, names, report.weights.T, strict=False):
        image = axes.imshow(weights.reshape(shape), cmap=DIVERGING, vmin=-limit, vmax=limit)
        axes.set_title(f"class {_short(name)}", fontsize="medium", parse_math=False)
    shown = "" if len(names) == len(report.classes) else f" (the first {len(names)})"
    figure.suptitle(f"Weights of each class{shown}: red pixels speak for it, blue ones against it")
    _add_colorbar(list(panels.flat), image, "weight")


def _draw_weight_map(figure: SubFigure, report: Report) -> None:
    axes = figure.subplots()
    limit = _limit(report.weights)
    image = axes.imshow(report.weights.T, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    if len(report.features) <= MOST_ANNOTATED:
        _annotate(axes, report.weights.T, "{:.2f}", np.abs(report.weights.T) > 0.6 * limit)
    axes.set_title("Weights of each class: red features speak for it, blue ones against it")
    axes.set(xlabel="feature (standardised)", ylabel="class")
    _name_ticks(axes, report.features, report.classes)
    _add_colorbar(axes, image, "weight")


def _draw_least_certain(figure: SubFigure, report: Report) -> None:
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 1.35]).flat
    if report.image_shape is not None:
        image_axes, bar_axes = left.subplots(2, 1)
        image_axes.imshow(report.row.reshape(report.image_shape), cmap="gray_r")
        image_axes.set(xticks=[], yticks=[])
        image_axes.set_title(
            f"The least certain test image, truly {_short(report.classes[report.row_class])}",
            parse_math=False,
        )
    else:
        bar_axes = left.subplots()
    _draw_probabilities(bar_axes, report)
    _draw_jacobian(right.subplots(), report)


def _draw_probabilities(axes: Axes, report: Report) -> None:
    positions = range(len(report.classes))
    colors = ["tab:green" if i == report.row_class else "tab:gray" for i in positions]
    axes.bar(positions, report.probabilities, color=colors)
    kind = "image" if report.image_shape else "row"
    axes.set_title(f"softmax of the least certain {kind} (green: its true class)")
    axes.set(xlabel="class", ylabel="probability", ylim=(0, None))
    _name_ticks(axes, report.classes, None)


def _draw_jacobian(axes: Axes, report: Report) -> None:
    limit = _limit(report.jacobian)
    image = axes.imshow(report.jacobian, cmap=DIVERGING, vmin=-limit, vmax=limit)
    _annotate(axes, report.jacobian, "{:.3f}", np.abs(report.jacobian) > 0.6 * limit)
    kind = "image" if report.image_shape else "row"
    axes.set_title(f"Jacobian ∂s/∂z of the softmax at the least certain {kind}")
    axes.set(xlabel="class whose score z changes", ylabel="class whose probability s answers")
    _name_ticks(axes, report.classes, report.classes)
    _add_colorbar(axes, image, "∂s/∂z")


def _annotate(axes: Axes, matrix: Array, template: str, dark: Array) -> None:
    """Write the values into the cells, white where a cell is dark and grey where it shows zero."""
    if max(matrix.shape) > MOST_ANNOTATED:
        return
    for (i, j), value in np.ndenumerate(matrix):
        text = template.format(value)
        color = "white" if dark[i, j] else "black"
        if float(text) == 0:
            text, color = "0", "0.65"
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize="small")


def _name_ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str] | None) -> None:
    """Name rows and columns while they are few; beyond that matplotlib's numbers must do."""
    if len(columns) <= MOST_NAMED:
        names = [_short(name) for name in columns]
        turn = max(map(len, names)) * len(names) > 50
        axes.set_xticks(range(len(names)), names, rotation=90 if turn else 0, parse_math=False)
    if rows is not None and len(rows) <= MOST_NAMED:
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows], parse_math=False)


def _add_colorbar(axes: Axes | list[Axes], image: AxesImage, label: str) -> Colorbar:
    return image.axes.figure.colorbar(image, ax=axes, label=label, shrink=0.9)


def _limit(matrix: Array) -> float:
    """Return the bound of a colour scale that is symmetric about zero."""
    return float(np.abs(matrix).max()) or 1.0


def _short(name: str, most: int = 14) -> str:
    """Leave out the middle: long names tend to differ at their ends."""
    half = most // 2
    return name if len(name) <= most else f"{name[: half - 1]}…{name[-half:]}"
