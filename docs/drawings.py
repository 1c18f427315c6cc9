"""The drawings of kernels.md: ``python docs/drawings.py`` writes them, ``--check`` compares.

A number of the array is named by its row, a letter, and its class; a vector has four lanes.
``--plans build/core/plan_table`` compares the plans on that page with what the program prints.
"""

from __future__ import annotations

import argparse
import colorsys
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

IMAGES = Path(__file__).parent / "images"
PAGE = Path(__file__).parent / "kernels.md"
CELL = 28  # the side of a number
LANES = 4
HUES = (210, 35, 130, 320, 265, 180, 5, 80)  # of the rows a, b, c, ...
INK, FAINT, MARK = "#222222", "#777777", "#b03020"
EMPTY = "·"


class Drawing:
    """An SVG of boxes, arrows and words."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size = width, height
        self.title = title
        self.parts: list[str] = []

    def write(self) -> str:
        """Return the file."""
        width, height = self.size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">'
        )
        tip = (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{FAINT}"/>'
            "</marker></defs>"
        )
        ground = f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>'
        title = f"<title>{escape(self.title)}</title>"
        parts = "\n".join((head, title, tip, ground, *self.parts, "</svg>")).splitlines()
        return (
            "\n".join("\n".join(textwrap.wrap(part, 98, break_on_hyphens=False)) for part in parts)
            + "\n"
        )

    def text(self, x: float, y: float, words: str, anchor: str = "start", fill: str = INK) -> None:
        """Write words from, around or up to x."""
        place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}"'
        self.parts.append(f"<text {place}>\n{escape(words)}\n</text>")

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str = FAINT
    ) -> None:
        """Draw a box."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" '
            f'stroke="{edge}"/>'
        )

    def line(self, points: Sequence[tuple[float, float]], *, arrow: bool = True) -> None:
        """Draw a line through the points, with an arrow at its end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        tip = ' marker-end="url(#tip)"' if arrow else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{FAINT}" stroke-width="1.5"{tip}/>'
        )

    def numbers(self, x: float, y: float, names: Sequence[str], frame: str = "") -> None:
        """Draw numbers side by side; with a frame around them they are a vector."""
        for i, name in enumerate(names):
            left = x + i * CELL
            self.box(left, y, CELL, CELL, shade(name))
            self.text(left + CELL / 2, y + 19, name, "middle", INK if name != EMPTY else FAINT)
        if frame:
            self.parts.append(
                f'<rect x="{x:g}" y="{y:g}" width="{len(names) * CELL}" height="{CELL}" '
                f'fill="none" stroke="{frame}" stroke-width="2.5"/>'
            )


def shade(name: str) -> str:
    """Return the colour of a number's row."""
    if not name[0].isalpha():
        return "#f4f4f4"
    return pale(HUES[(ord(name[0].lower()) - ord("a")) % len(HUES)])


def pale(hue: int, light: float = 0.86) -> str:
    """Return a light colour; some viewers know no others than these forms."""
    red, green, blue = colorsys.hls_to_rgb(hue / 360, light, 0.7)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def row(letter: str, first: int, count: int) -> list[str]:
    """Return the names of some classes of a row."""
    return [f"{letter}{i}" for i in range(first, first + count)]


def along(drawing: Drawing, x: float, y: float, letter: str, classes: int) -> None:
    """Draw the panel of a row along: its vectors, the last perhaps not full."""
    for i in range(0, classes, LANES):
        names = row(letter, i, min(LANES, classes - i))
        names += [EMPTY] * (LANES - len(names))
        drawing.numbers(x + i * (CELL + 2), y, names, MARK)


def across(drawing: Drawing, x: float, y: float, letters: str, classes: int) -> None:
    """Draw the panel of rows across: a vector for each class, one below the other."""
    for i in range(classes):
        drawing.numbers(x, y + i * (CELL + 4), [f"{r}{i}" for r in letters], MARK)


def single_row() -> Drawing:
    """Draw the layout of a row that comes alone."""
    drawing = Drawing(760, 150, "A single row lies along; its sum is in the order of packed rows")
    drawing.text(16, 26, "memory: one row of 10 classes")
    drawing.numbers(16, 38, row("a", 0, 10))
    drawing.line([(310, 52), (356, 52)])
    drawing.text(366, 26, "panel: along, 3 vectors")
    along(drawing, 366, 38, "a", 10)
    drawing.text(16, 104, "exponentials: vectors of 4 classes")
    drawing.text(366, 104, "their sum: class after class, as in a packed row,")
    drawing.text(366, 122, "((e0 + e1) + e2) + ⋯ + e9: the bits are the same")
    return drawing


def rows() -> Drawing:
    """Draw rows as panels along."""
    drawing = Drawing(760, 190, "Rows: each is a panel where it lies")
    drawing.text(16, 26, "memory, and panels: a row is a sequence of vectors, W classes in each")
    for i, letter in enumerate("ab"):
        along(drawing, 60, 40 + i * 46, letter, 20)
        drawing.text(16, 59 + i * 46, f"row {i}")
    drawing.line([(60, 142), (538, 142)], arrow=False)
    drawing.text(60, 162, "SMC_UNROLL = 4 vectors are computed together;")
    drawing.text(60, 180, "each lane has a part of the maximum and of the sum, reduced at the end")
    drawing.line([(538, 138), (538, 146)], arrow=False)
    drawing.line([(60, 138), (60, 146)], arrow=False)
    return drawing


def lane_blocks() -> Drawing:
    """Draw a lane block."""
    drawing = Drawing(760, 260, "A lane block: W rows go through the passes as one")
    drawing.text(16, 26, "memory: W rows, a few vectors each")
    for i, letter in enumerate("abcd"):
        along(drawing, 16, 40 + i * 40, letter, 12)
        drawing.line([(380, 54 + i * 40), (420, 54 + i * 40)])
        drawing.numbers(430, 40 + i * 40, [f"{letter}Σ"] * LANES, MARK)
    drawing.text(430, 26, "four accumulators")
    for i in range(LANES):
        drawing.line([(545, 54 + i * 40), (585, 114 + (i - 1.5) * 6)])
    drawing.numbers(595, 100, ["a", "b", "c", "d"], MARK)
    drawing.text(595, 72, "one vector:")
    drawing.text(595, 90, "a row to a lane")
    drawing.text(16, 222, "Four rows are jammed: while a maximum or a sum of one waits, others")
    drawing.text(16, 240, "are computed. They are reduced together; one division serves W rows.")
    return drawing


def staged_rows() -> Drawing:
    """Draw rows brought together in a buffer."""
    drawing = Drawing(760, 190, "Staged rows: brought together, or converted, in a buffer")
    drawing.text(16, 26, "memory: every other element, or 16-bit elements")
    for i, letter in enumerate("ab"):
        names = [n for c in row(letter, 0, 6) for n in (c, EMPTY)]
        drawing.numbers(16, 40 + i * 40, names)
    drawing.line([(360, 72), (404, 72)])
    drawing.text(414, 26, "buffer: panels along, of the type computed in")
    for i, letter in enumerate("ab"):
        along(drawing, 414, 40 + i * 40, letter, 6)
    drawing.text(16, 150, "A row longer than the buffer is taken a k-block at a time. Results go")
    drawing.text(16, 168, "into the same buffer, and from there to the elements of the output.")
    return drawing


def packed_rows() -> Drawing:
    """Draw rows transposed into a buffer."""
    drawing = Drawing(760, 240, "Packed rows: W rows transposed into a buffer")
    drawing.text(16, 26, "memory: dense rows of 6 classes")
    for i, letter in enumerate("abcd"):
        drawing.numbers(16, 40 + i * (CELL + 4), row(letter, 0, 6))
    drawing.line([(196, 100), (276, 100)])
    drawing.text(236, 90, "pack", "middle")
    drawing.line([(276, 130), (196, 130)])
    drawing.text(236, 150, "unpack", "middle")
    drawing.text(290, 26, "buffer: a panel across, 6 vectors")
    across(drawing, 290, 40, "abcd", 6)
    drawing.text(430, 62, "A maximum or a sum of W rows is one vector,")
    drawing.text(430, 80, "made lane by lane: nothing is reduced")
    drawing.text(430, 98, "across lanes, and no lane is idle.")
    drawing.text(430, 130, "prologue: the maxima, found while packing")
    drawing.text(430, 148, "epilogue: the quotients, made while unpacking")
    return drawing


def columns() -> Drawing:
    """Draw columns, jammed."""
    drawing = Drawing(760, 250, "Columns: rows are neighbours in memory, and lie across by nature")
    drawing.text(60, 26, "memory, and panels: row after row of one class, then the next class")
    for c in range(5):
        for u, letters in enumerate(("abcd", "efgh", "ijkl", "mnop")):
            drawing.numbers(
                60 + u * (LANES * CELL + 4), 40 + c * 32, [f"{r}{c}" for r in letters], MARK
            )
        drawing.text(16, 59 + c * 32, f"k = {c}")
    for u in range(4):
        drawing.text(116 + u * (LANES * CELL + 4), 218, f"panel {u}", "middle")
    drawing.line([(540, 54), (540, 190)])
    drawing.text(552, 116, "step of a panel:")
    drawing.text(552, 134, "from class to class")
    drawing.text(60, 240, "Four panels are jammed: of each class four vectors.", fill=FAINT)
    return drawing


def copied_columns() -> Drawing:
    """Draw columns copied to a buffer."""
    drawing = Drawing(760, 260, "Copied columns: classes whole pages apart are copied to a buffer")
    drawing.text(16, 26, "memory: classes whole pages apart")
    for c in range(5):
        drawing.numbers(60, 40 + c * 38, [f"{r}{c}" for r in "abcd"])
        drawing.text(182, 59 + c * 38, "⋯")
        drawing.text(16, 59 + c * 38, f"k = {c}")
    for c in range(4):
        drawing.text(200, 78 + c * 38, "4096 bytes, or a multiple", fill=FAINT)
    drawing.line([(380, 130), (424, 130)])
    drawing.text(434, 26, "buffer: vectors side by side")
    across(drawing, 434, 40, "abcd", 5)
    drawing.text(
        16, 248, "These lines share a few sets of the cache; the buffer's do not.", fill=FAINT
    )
    return drawing


def plan() -> Drawing:
    """Draw the way from a call to passes."""
    drawing = Drawing(760, 250, "A call becomes a plan, and a plan becomes panels")
    boxes = (
        (16, "call", ("views, n, k, j", "scale, targets", "parallel")),
        (206, "plan", ("layout, stores, prefetch", "online, k-block, parts", "panels of a tile")),
        (396, "tile by tile", ("panels where they lie", "or in buffers", "k-block by k-block")),
        (586, "passes", ("maxima", "sums", "results")),
    )
    for x, name, lines in boxes:
        drawing.box(x, 40, 158, 110, pale(210, 0.94), INK)
        drawing.text(x + 79, 64, name, "middle", MARK)
        for i, words in enumerate(lines):
            drawing.text(x + 79, 90 + i * 20, words, "middle")
    for x in (174, 364, 554):
        drawing.line([(x, 95), (x + 30, 95)])
    drawing.text(285, 190, "traits of the operation,", "middle")
    drawing.text(285, 208, "thresholds (constants),", "middle")
    drawing.text(285, 226, "sizes of the caches", "middle")
    drawing.line([(285, 174), (285, 154)])
    drawing.text(285, 28, "plan_of", "middle", FAINT)
    drawing.text(475, 28, "for_tiles", "middle", FAINT)
    return drawing


def tiles() -> Drawing:
    """Draw what an array is cut into."""
    drawing = Drawing(760, 270, "Tiles, k-blocks, row parts and column strips")
    drawing.text(16, 24, "rows: tiles of some rows; k-blocks of long rows")
    for i in range(3):
        for b in range(3):
            fill = pale(35) if i == b == 1 else "#ffffff"
            drawing.box(16 + b * 110, 36 + i * 42, 110, 42, fill, INK if b else MARK)
        drawing.box(16, 36 + i * 42, 330, 42, "none", MARK)
        drawing.text(354, 62 + i * 42, f"tile {i}")
    drawing.text(181, 104, "k-block 1", "middle")
    drawing.text(16, 190, "a row beyond half a MiB, in 4 row parts of some k-blocks:")
    for p in range(4):
        drawing.box(16 + p * 84, 202, 84, 32, pale(HUES[p], 0.9), MARK)
        drawing.text(58 + p * 84, 223, f"part {p}", "middle")
    drawing.text(16, 256, "Threads share the parts; the sums are merged in order.", fill=FAINT)
    drawing.text(440, 24, "columns: strips; k-blocks down them")
    for i in range(3):
        for b in range(3):
            fill = pale(35) if i == b == 1 else "#ffffff"
            drawing.box(440 + i * 90, 36 + b * 42, 90, 42, fill, FAINT)
        drawing.box(440 + i * 90, 36, 90, 126, "none", MARK)
        drawing.text(485 + i * 90, 180, f"strip {i}", "middle")
    drawing.text(575, 104, "k-block 1", "middle")
    return drawing


def combiner() -> Drawing:
    """Draw how results leave as whole lines."""
    drawing = Drawing(760, 210, "The write combiner: rows that end anywhere leave as whole lines")
    drawing.text(16, 26, "results of a tile, in a buffer that starts where its first line does")
    position = 2
    names = [EMPTY] * position
    for letter in "abc":
        names += row(letter, 0, 6)
    for i in range(0, 20, LANES):
        group = names[i : i + LANES]
        drawing.numbers(16 + i * (CELL + 2), 40, group)
    drawing.text(16, 92, "before", fill=FAINT)
    for i in range(5):
        drawing.line([(72 + i * 120, 74), (72 + i * 120, 118)])
    for i in range(0, 20, LANES):
        drawing.numbers(16 + i * (CELL + 2), 128, names[i : i + LANES], MARK)
    drawing.text(
        16, 180, "memory: a line at a time, by non-temporal stores; none is fetched before"
    )
    drawing.text(
        16, 198, "it is overwritten. What does not fill a line waits for the next tile's results."
    )
    return drawing


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "plan": plan,
    "tiles": tiles,
    "single_row": single_row,
    "rows": rows,
    "lane_blocks": lane_blocks,
    "staged_rows": staged_rows,
    "packed_rows": packed_rows,
    "columns": columns,
    "copied_columns": copied_columns,
    "combiner": combiner,
}


def stale() -> list[str]:
    """Return the files that are not what this script draws, too many or missing."""
    drawn = {f"{name}.svg": draw().write() for name, draw in DRAWINGS.items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in IMAGES.glob("*.svg")}
    return sorted(name for name in drawn | there if drawn.get(name) != there.get(name))


def documented() -> list[str]:
    """Return the plans of the page's table, as the program prints them."""
    table = PAGE.read_text(encoding="utf-8").split("\n| call |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]
    return [
        f"{call}: {layout} tile {tile}, block {block}, parts {parts}, values {values}, "
        f"lead {lead}, {stores}, {prefetch}\n"
        for _, call, layout, tile, block, parts, values, lead, stores, prefetch, _ in rows
    ]


def outdated(program: str) -> list[str]:
    """Return the plans on the page that the program, on targets that are here, does not print."""
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    targets = {line.split()[0] for line in printed.splitlines()}
    return [
        plan.strip() for plan in documented() if plan.split()[0] in targets and plan not in printed
    ]


def main() -> int:
    """Write or check the drawings, or check the plans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a file is not current")
    parser.add_argument("--plans", metavar="PROGRAM", help="fail if it prints other plans")
    options = parser.parse_args()
    if options.check or options.plans:
        wrong = (stale() if options.check else []) + (
            outdated(options.plans) if options.plans else []
        )
        for what in wrong:
            print(f"not current: {what}")
        return 1 if wrong else 0
    IMAGES.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (IMAGES / f"{name}.svg").write_text(draw().write(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
