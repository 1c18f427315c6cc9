"""The results as a picture: the ratio of every cell and peer, the time per element over K."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .card import SIZE_NAMES
from .ops import OPS
from .peers import OURS
from .results import Result

DPI = 100
MOST_ROWS = 60  # cells below each other
MOST_ANNOTATED = 120  # cells up to which each carries its number
MOST_BESIDE = 4  # curves beside each other
MOST_NAMED = 4  # points of a curve up to which each K is named
LARGEST_RATIO = 16.0  # where the colours end


def draw(results: Sequence[Result]) -> bytes:
    """Draw the heat map, and the curves below it, and return the picture as a PNG."""
    panels = math.ceil(len(results) / MOST_ROWS)
    map_height = 2 + 0.24 * min(len(results), MOST_ROWS)
    curves = _curves(results)
    curve_height = 3.2 * math.ceil(len(curves) / MOST_BESIDE)
    width = max(8.5 * panels, 4 * min(len(curves), MOST_BESIDE), 9)
    figure = Figure(figsize=(width, map_height + curve_height), dpi=DPI, layout="constrained")
    if not curves:
        _draw_ratios(figure, results, panels)
    else:
        top, bottom = figure.subfigures(
            2, 1, squeeze=False, height_ratios=[map_height, curve_height]
        ).flat
        _draw_ratios(top, results, panels)
        _draw_curves(bottom, curves)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_ratios(figure: Figure | SubFigure, results: Sequence[Result], panels: int) -> None:
    peers = list(dict.fromkeys(name for r in results for name in r.timings if name != OURS))
    columns = [*peers, "best peer"]
    rows = math.ceil(len(results) / panels)
    norm = TwoSlopeNorm(0, -math.log2(LARGEST_RATIO) / 2, math.log2(LARGEST_RATIO))
    all_axes = list(figure.subplots(1, panels, squeeze=False).flat)
    for i, axes in enumerate(all_axes):
        shown = results[i * rows : (i + 1) * rows]
        ratios = np.array([_ratios(result, peers) for result in shown]).reshape(len(shown), -1)
        image = axes.imshow(np.log2(ratios), cmap="RdYlGn", norm=norm, aspect="auto")
        axes.set_facecolor("0.9")
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axes.set_yticks(range(len(shown)), [str(r.cell) for r in shown], fontsize="x-small")
        if len(results) <= MOST_ANNOTATED:
            _annotate(axes, ratios)
    bar = figure.colorbar(image, ax=all_axes, shrink=0.5, label="time over smcore's")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{2**x:g}"))
    figure.suptitle("Time of each peer over that of smcore: below 1 (red), the peer is faster")


def _ratios(result: Result, peers: Sequence[str]) -> list[float]:
    ratios = [result.ratio_of(peer) if peer in result.timings else math.nan for peer in peers]
    return [*ratios, math.nan if result.ratio is None else result.ratio]


def _annotate(axes: Axes, ratios: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    for (i, j), ratio in np.ndenumerate(ratios):
        if math.isfinite(ratio):
            text = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
            color = "white" if ratio > 8 or ratio < 0.4 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize="x-small", color=color)


Curves: TypeAlias = dict[tuple[str, str], list[Result]]


def _curves(results: Sequence[Result]) -> Curves:
    """Group the plain cells by operation with dtype, and by size; a curve needs two K.

    Of several cells with the same K, the largest is taken.
    """
    groups: dict[tuple[str, str], dict[int, Result]] = {}
    for result in sorted(results, key=lambda result: result.cell.elements):
        cell = result.cell
        if not cell.variant:
            groups.setdefault((f"{cell.op}, {cell.dtype}", cell.size), {})[cell.classes] = result

    def place(key: tuple[str, str]) -> tuple[int, str, int]:
        op, _, dtype = key[0].partition(", ")
        return list(OPS).index(op), dtype, SIZE_NAMES.index(key[1])

    return {
        key: [groups[key][classes] for classes in sorted(groups[key])]
        for key in sorted(groups, key=place)
        if len(groups[key]) > 1
    }


def _draw_curves(figure: SubFigure, curves: Curves) -> None:
    beside = min(len(curves), MOST_BESIDE)
    all_axes = list(figure.subplots(math.ceil(len(curves) / beside), beside, squeeze=False).flat)
    names = list(
        dict.fromkeys(name for group in curves.values() for r in group for name in r.timings)
    )
    for axes, ((op, size), group) in zip(all_axes, curves.items(), strict=False):
        _draw_curve(axes, group, names)
        axes.set_title(f"{op}, {size}", fontsize="small")
    for axes in all_axes[len(curves) :]:
        axes.set_axis_off()
    handles = {line.get_label(): line for axes in all_axes for line in axes.get_lines()}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(names) + 1
    )
    figure.suptitle("Nanoseconds per element over the number of classes")


def _draw_curve(axes: Axes, group: Sequence[Result], names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        points = [
            (r.cell.classes, r.per_element(r.timings[name].minimum))
            for r in group
            if name in r.timings
        ]
        if points:
            style = {"color": "black", "linewidth": 2.2} if name == OURS else {"color": f"C{i}"}
            axes.plot(*zip(*points, strict=True), marker=".", label=name, **style)
    limits = [(r.cell.classes, r.per_element(r.limits[r.limit])) for r in group]
    axes.plot(*zip(*limits, strict=True), "--", color="0.6", label="limit")
    axes.set(xscale="log", yscale="log", xlabel="K", ylabel="ns per element")
    axes.xaxis.set_minor_formatter(NullFormatter())  # over a short range they would overlap
    if len(group) <= MOST_NAMED:
        axes.set_xticks([r.cell.classes for r in group], [str(r.cell.classes) for r in group])
    axes.grid(alpha=0.3, which="both")
