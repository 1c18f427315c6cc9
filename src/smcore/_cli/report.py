"""The picture of a training: curves, confusions, weights, and the Jacobian where it is liveliest.

At most `MOST_NAMED` rows and columns of a matrix are shown, all of them named: of more classes or
features, those that have most to say, and the titles say so.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

import smcore

from .lettering import escaped, fit, fonts_for, name_columns, name_rows, room_for, shortened
from .sgd import Scores

Array = NDArray[Any]

DPI = 110
WIDTH = 14  # inches
MOST_ANNOTATED = 14  # classes up to which the cells of a matrix carry their number
MOST_NAMED = 40
MOST_PROBABLE = 10
MOST_PAIRS = 14
LONGEST = 24  # name of a class
DIVERGING = "RdBu_r"
SETTINGS: dict[Any, Any] = {"text.parse_math": False, "image.interpolation": "nearest"}


@dataclass(frozen=True)
class Report:
    """What the picture shows; `row` is the least certain row of the test, in its own units."""

    classes: Sequence[str]
    features: Sequence[str]
    image_shape: tuple[int, int] | None
    history: Sequence[Scores]
    true: Array  # class of each row of the test
    predicted: Array
    weights: Array
    row: Array
    row_class: int
    probabilities: Array


def draw(report: Report) -> tuple[bytes, str | None]:
    """Draw the report; return it as a PNG, and a note if characters could not be drawn."""
    families, missing = fonts_for({*report.classes, *report.features})
    if missing:
        report = replace(
            report,
            classes=[escaped(name, missing) for name in report.classes],
            features=[escaped(name, missing) for name in report.features],
        )
    buffer = io.BytesIO()
    with matplotlib.rc_context({**SETTINGS, "font.family": families}):
        _figure(report).savefig(buffer, format="png")
    note = None
    if missing:
        note = (
            f"no installed font has {len(missing)} of the characters in names, such as "
            f"{min(missing)!a}: report.png shows their numbers (Noto Sans CJK is such a font)"
        )
    return buffer.getvalue(), note


def _figure(report: Report) -> Figure:
    """Lay out four bands of panels, each as high as what it shows."""
    names = shortened(report.classes, LONGEST)
    few, many = room_for(names[:MOST_PROBABLE]), room_for(names[:MOST_NAMED])
    heights = [
        4.5,
        (5.0 if len(names) <= MOST_ANNOTATED else 6.5) + many,
        _weights_height(report) + (many if report.image_shape is None else 0),
        5.5 + few,
    ]
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=DPI, layout=layout)
    bands = figure.subfigures(4, 1, squeeze=False, height_ratios=heights).flat
    curves, confusions, weights, least_certain = bands
    _draw_curves(curves, report.history)
    _draw_confusions(confusions, report)
    if report.image_shape is None:
        _draw_weight_map(weights, report)
    else:
        _draw_weight_images(weights, report, report.image_shape)
    _draw_least_certain(least_certain, report)
    fit(figure, layout)
    return figure


def _draw_curves(figure: SubFigure, history: Sequence[Scores]) -> None:
    epochs = range(1, len(history) + 1)
    marker = "o" if len(epochs) == 1 else ""
    losses, accuracies = figure.subplots(1, 2)
    for axes, what in ((losses, "loss"), (accuracies, "accuracy")):
        for rows in ("train", "test"):
            values = [getattr(scores, f"{rows}_{what}") for scores in history]
            axes.plot(epochs, values, marker=marker, label=f"{rows} rows")
        axes.set(title=f"{what.capitalize()} after each epoch", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    losses.set_ylabel("mean cross-entropy")
    losses.set_ylim(bottom=0)
    accuracies.set_ylabel("rows of the right class")
    accuracies.yaxis.set_major_formatter(PercentFormatter(1))
    bottom, top = accuracies.get_ylim()
    if top > 1:
        accuracies.set_ylim(min(bottom, 0.98), 1.001)


def _draw_confusions(figure: SubFigure, report: Report) -> None:
    is_large = len(report.classes) > MOST_ANNOTATED
    left, right = figure.subplots(1, 2, width_ratios=[1.4 if is_large else 1.15, 1])
    hits = report.true == report.predicted
    figure.suptitle(f"{hits.mean():.1%} of {len(hits)} test rows are right")
    pairs, counts = np.unique(
        np.stack([report.true, report.predicted])[:, ~hits], axis=1, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")
    _draw_confusion_matrix(left, report, pairs[:, order])
    _draw_pairs(right, report, pairs[:, order[:MOST_PAIRS]], counts[order[:MOST_PAIRS]])


def _draw_confusion_matrix(axes: Axes, report: Report, pairs: Array) -> None:
    """Draw the share of each true class that is taken for each class."""
    K = len(report.classes)
    candidates = dict.fromkeys([*pairs.T.ravel().tolist(), *range(K)])  # the confused ones first
    chosen = sorted(list(candidates)[:MOST_NAMED])
    n = len(chosen)
    place = np.full(K, -1)
    place[chosen] = np.arange(n)
    rows, columns = place[report.true], place[report.predicted]
    shown = (rows >= 0) & (columns >= 0)
    counts = np.bincount(rows[shown] * n + columns[shown], minlength=n * n).reshape(n, n)
    totals = np.bincount(report.true, minlength=K)[chosen]
    shares = counts / np.maximum(totals, 1)[:, np.newaxis]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _annotate(axes, shares, "{:.0%}", shares > 0.5)
    axes.set_title("Confusion matrix" + (f": {n} of {K} classes" if n < K else ""))
    axes.set(xlabel="predicted class", ylabel="true class (number of test rows)")
    names = shortened([report.classes[k] for k in chosen], LONGEST)
    name_columns(axes, names)
    name_rows(axes, [f"{name} ({m})" for name, m in zip(names, totals, strict=True)])
    colorbar = _add_colorbar(axes, image, "share of the true class")
    colorbar.ax.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_pairs(axes: Axes, report: Report, pairs: Array, counts: Array) -> None:
    """Draw the most frequent confusions as bars."""
    axes.set_title("Most frequent confusions (true class → predicted class)", loc="right")
    if not len(counts):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no test row is taken for another class", ha="center")
        return
    totals = np.bincount(report.true, minlength=len(report.classes))
    names = shortened(report.classes, 18)
    bars = axes.barh(range(len(counts)), counts, color="tab:red")
    ratios = [f" {m} of {totals[k]}" for m, k in zip(counts, pairs[0], strict=True)]
    axes.bar_label(bars, ratios, fontsize="small")
    axes.set(xlabel="test rows", ylim=(max(len(counts), 6) - 0.5, -0.5))
    axes.margins(x=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_rows(axes, [f"{names[k]} → {names[m]}" for k, m in pairs.T])


def _weights_height(report: Report) -> float:
    if report.image_shape is not None:
        rows, _ = _panels(min(len(report.classes), MOST_NAMED))
        return 0.8 + 1.7 * rows if rows > 1 else 3.5
    return 2.2 + 0.2 * min(len(report.features), MOST_NAMED)


def _panels(count: int) -> tuple[int, int]:
    columns = min(count, 5 if count <= 10 else 10)
    return math.ceil(count / columns), columns


def _draw_weight_images(figure: SubFigure, report: Report, shape: tuple[int, int]) -> None:
    names = shortened(report.classes, 16)[:MOST_NAMED]
    rows, columns = _panels(len(names))
    panels = figure.subplots(rows, columns, squeeze=False)
    limit = _limit(report.weights)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, name, weights in zip(panels.flat, names, report.weights.T, strict=False):
        image = axes.imshow(weights.reshape(shape), cmap=DIVERGING, vmin=-limit, vmax=limit)
        axes.set_title(name if columns > 5 else f"class {name}", fontsize="medium")
    shown = "" if len(names) == len(report.classes) else f" (the first {len(names)})"
    figure.suptitle(f"Weights of each class{shown}: red pixels speak for it, blue ones against it")
    _add_colorbar(list(panels.flat), image, "weight")


def _draw_weight_map(figure: SubFigure, report: Report) -> None:
    axes = figure.subplots()
    sizes = np.abs(report.weights)
    features = _largest(sizes.max(axis=1), MOST_NAMED)
    classes = _largest(sizes[features].max(axis=0), MOST_NAMED)
    weights = report.weights[np.ix_(features, classes)]
    limit = _limit(weights)
    image = axes.imshow(weights, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    if len(features) <= MOST_NAMED and len(classes) <= MOST_ANNOTATED:
        _annotate(axes, weights, "{:.2f}", np.abs(weights) > 0.6 * limit)
    parts = [
        f"the {len(chosen)} of {len(names)} {what} with the largest"
        for chosen, names, what in (
            (features, report.features, "features"),
            (classes, report.classes, "classes"),
        )
        if len(chosen) < len(names)
    ]
    shown = f" ({'; '.join(parts)})" if parts else ""
    axes.set_title(f"Weights{shown}: red features speak for a class, blue ones against it")
    axes.set(xlabel="class", ylabel="feature (standardised)")
    name_columns(axes, shortened([report.classes[k] for k in classes], LONGEST))
    name_rows(axes, shortened([report.features[j] for j in features], 40))
    _add_colorbar(axes, image, "weight")


def _draw_least_certain(figure: SubFigure, report: Report) -> None:
    """Draw the row's image, its most probable classes, and the Jacobian among them."""
    chosen = _largest(report.probabilities, MOST_PROBABLE)
    if report.row_class not in chosen:
        chosen[report.probabilities[chosen].argmin()] = report.row_class
        chosen.sort()
    names = shortened([report.classes[k] for k in chosen], LONGEST)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 1.35]).flat
    if report.image_shape is not None:
        image_axes, bar_axes = left.subplots(2, 1)
        image_axes.imshow(report.row.reshape(report.image_shape), cmap="gray_r")
        image_axes.set(xticks=[], yticks=[])
        truth = shortened(report.classes, LONGEST)[report.row_class]
        image_axes.set_title(f"The least certain test image, truly {truth}")
    else:
        bar_axes = left.subplots()
    _draw_probabilities(bar_axes, report, chosen, names)
    _draw_jacobian(right.subplots(), report, chosen, names)


def _draw_probabilities(axes: Axes, report: Report, chosen: Array, names: Sequence[str]) -> None:
    s = report.probabilities[chosen]
    colors = ["tab:green" if k == report.row_class else "tab:gray" for k in chosen]
    axes.bar(range(len(chosen)), s, color=colors)
    kind = "image" if report.image_shape else "row"
    axes.set_title(f"softmax of the least certain {kind} (green: its true class)")
    rest = len(report.classes) - len(chosen)
    others = f"; {rest} others have {max(1 - s.sum(), 0):.1%} together" if rest else ""
    axes.set(xlabel=f"class{others}", ylabel="probability", ylim=(0, None))
    name_columns(axes, names)


def _draw_jacobian(axes: Axes, report: Report, chosen: Array, names: Sequence[str]) -> None:
    """Draw rows and columns of the Jacobian; what is not shown is never made."""
    units = np.zeros((len(report.probabilities), len(chosen)), report.probabilities.dtype)
    units[chosen, range(len(chosen))] = 1
    jacobian = (smcore.SoftmaxJacobian(report.probabilities) @ units)[chosen]
    limit = _limit(jacobian)
    image = axes.imshow(jacobian, cmap=DIVERGING, vmin=-limit, vmax=limit)
    _annotate(axes, jacobian, "{:.3f}", np.abs(jacobian) > 0.6 * limit)
    of = "" if len(chosen) == len(report.classes) else f": {len(chosen)} of its classes"
    kind = "image" if report.image_shape else "row"
    axes.set_title(f"Jacobian ∂s/∂z at the least certain {kind}{of}")
    axes.set(xlabel="class whose score z changes", ylabel="class whose probability s answers")
    name_columns(axes, names)
    name_rows(axes, names)
    _add_colorbar(axes, image, "∂s/∂z")


def _annotate(axes: Axes, matrix: Array, template: str, dark: Array) -> None:
    """Write the values into the cells, white where a cell is dark and grey where it shows zero."""
    if matrix.shape[1] > MOST_ANNOTATED:
        return
    for (i, j), value in np.ndenumerate(matrix):
        text = template.format(value)
        color = "white" if dark[i, j] else "black"
        if not any(digit in text for digit in "123456789"):
            text, color = "0", "0.65"
        cell = axes.text(j, i, text, ha="center", va="center", color=color)
        cell.set_in_layout(False)  # it lies within its cell, and takes long to be measured


def _largest(values: Array, most: int) -> Array:
    """Return where the largest values are, in the order of the places."""
    return np.sort(np.argsort(-values, kind="stable")[:most])


def _add_colorbar(axes: Axes | list[Axes], image: AxesImage, label: str) -> Any:
    return image.axes.figure.colorbar(image, ax=axes, label=label, shrink=0.9)


def _limit(matrix: Array) -> float:
    """Return the bound of a colour scale that is symmetric about zero."""
    return float(np.abs(matrix).max()) or 1.0
