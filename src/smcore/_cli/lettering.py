"""Names in a picture: short but different, in fonts that have their characters, side by side."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import LayoutEngine
from matplotlib.ticker import FixedLocator

DEFAULT_FONT = "DejaVu Sans"  # comes with matplotlib
NO_FONTS = ("emoji", "last resort", "lastresort")  # in colours, or with a box for everything
FONT_SIZE = 9.0
EM = 0.62  # width of a character of this font, in its size
LINE = 0.8  # size of what stands in a line of height 1
LEGIBLE = 4.5


def fonts_for(texts: Collection[str]) -> tuple[list[str], set[str]]:
    """Return fonts that have the characters of the texts, and the characters that none has."""
    characters = set().union(*texts)
    default = FT2Font(font_manager.findfont(DEFAULT_FONT))
    missing = {c for c in characters if c.isprintable() and not default.get_char_index(ord(c))}
    families = [DEFAULT_FONT]
    for entry in sorted(font_manager.fontManager.ttflist, key=_is_odd):
        if not missing:
            break
        if entry.name in families or any(word in entry.name.lower() for word in NO_FONTS):
            continue
        try:
            font = FT2Font(entry.fname)
        except (OSError, RuntimeError):  # a font that has been removed, or is none
            continue
        found = {c for c in missing if font.get_char_index(ord(c))}
        if found:
            families.append(entry.name)
            missing -= found
    return families, missing | {c for c in characters if not c.isprintable()}


def _is_odd(entry: font_manager.FontEntry) -> tuple[bool, bool, bool]:
    upright = entry.style == "normal" and str(entry.weight) in ("400", "normal", "regular")
    return not upright, "Sans" not in entry.name, "CJK" not in entry.name


def escaped(text: str, characters: Collection[str]) -> str:
    r"""Write these characters as ``\u6587``, as Python does."""
    return "".join(
        c.encode("ascii", "backslashreplace").decode()
        if c in characters and ord(c) > 127
        else "�"
        if c in characters
        else c
        for c in text
    )


def width(text: str) -> int:
    """Return how many columns the text takes: those of East Asia are wide."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Cut names to that width, where they stay different: at the end, in the middle, at the start.

    If none of these tells them apart, those that are cut are numbered.
    """
    for cut in (_cut_end, _cut_middle, _cut_start):
        short = [name if width(name) <= most else cut(name, most) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    digits = len(str(len(names))) + 1
    return [
        name if width(name) <= most else f"{_cut_end(name, most - digits)}#{i + 1}"
        for i, name in enumerate(names)
    ]


def _cut_end(name: str, most: int) -> str:
    return _head(name, most - 1) + "…"


def _cut_start(name: str, most: int) -> str:
    return "…" + _head(name[::-1], most - 1)[::-1]


def _cut_middle(name: str, most: int) -> str:
    return _head(name, most // 2) + _cut_start(name, most - most // 2)


def _head(name: str, most: int) -> str:
    while width(name) > most:
        name = name[: max(most, 0)] if len(name) > most else name[:-1]
    return name


def name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Name the ticks of the x axis; `fit` finds their size."""
    axes.set_xticks(range(len(names)), names, rotation=90 if room_for(names) else 0)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the ticks of the y axis; `fit` finds their size."""
    axes.set_yticks(range(len(names)), names, fontsize=FONT_SIZE)


def room_for(names: Sequence[str]) -> float:
    """Return the inches that names below columns take if they stand upright, or 0 if they lie."""
    widest = max(map(width, names))
    return widest * EM * FONT_SIZE / 72 if widest * len(names) > 45 else 0.0


def fit(figure: Figure, layout: LayoutEngine) -> None:
    """Lay the figure out, with names and numbers of cells as small as their places are.

    The places are known once all is laid out, and grow when what is beside them shrinks.
    """
    for _ in range(2):
        layout.execute(figure)
        for axes in figure.axes:
            axes.apply_aspect()
            _fit_axes(axes, figure.dpi)
    figure.set_layout_engine("none")  # it is done


def _fit_axes(axes: Axes, dpi: float) -> None:
    box = axes.get_window_extent()
    column = 72 * box.width / dpi / abs(np.diff(axes.get_xlim())[0])
    row = 72 * box.height / dpi / abs(np.diff(axes.get_ylim())[0])
    if isinstance(axes.yaxis.get_major_locator(), FixedLocator):
        axes.tick_params(axis="y", labelsize=min(FONT_SIZE, LINE * row))
    if isinstance(axes.xaxis.get_major_locator(), FixedLocator):
        axes.tick_params(axis="x", labelsize=min(FONT_SIZE, LINE * column))
        longest = max((width(text.get_text()) for text in axes.get_xticklabels()), default=0)
        if longest * EM * FONT_SIZE > 0.95 * column:
            axes.tick_params(axis="x", labelrotation=90)
    if axes.images and axes.texts:
        longest = max(len(text.get_text()) for text in axes.texts)
        size = min(FONT_SIZE, 0.9 * column / (EM * longest), 0.7 * row)
        for text in axes.texts:
            text.set(fontsize=size, visible=size >= LEGIBLE)
