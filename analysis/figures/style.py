"""What figures share: size, type, colours that colour-blind readers can tell apart, and writing to files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec
from matplotlib.legend import Legend

from analysis.runs.provenance import SUFFIX, describe_runs
from csg.storage.files import make_folder, open_replacement
from csg.tracking import TrackedRun

COLUMN = 3.5
"""Inches; the width of a paper's column."""
TEXT_SIZE = 7.0
SMALL_SIZE = 6.0
"""Points; legible if the figure is printed at its own width."""
LINE_HEIGHT = 0.107
"""Inches; of a line of a caption."""
DOTS_PER_INCH = 200
PRINTED_DOTS_PER_INCH = 300
mpl.rcParams.update(
    {
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": TEXT_SIZE,
        "axes.titlesize": SMALL_SIZE,
        "xtick.labelsize": TEXT_SIZE,
        "ytick.labelsize": TEXT_SIZE,
        "legend.fontsize": SMALL_SIZE,
        "legend.frameon": False,
    }
)

BLUE, ORANGE, GREEN, RED, BLACK, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#000000", "#8A8A8A"
"""Okabe and Ito's palette."""
SKY, PURPLE = "#56B4E9", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, BLACK)
"""Its colours that can be seen on white, in the order of use."""
MANY_MARKS = 200
"""The number of marks in a panel above which they shrink."""
SHAPES = ("o", "^", "s", "D", "v")
SCORE_COLOURS = LinearSegmentedColormap.from_list(
    "score", [mpl.colormaps["viridis_r"](0.08 + 0.92 * step / 15) for step in range(16)]
)
"""Viridis without its palest end. The best score is the darkest."""


class RunFigure(Figure):
    """A figure with the runs that it was drawn from."""

    runs: Sequence[TrackedRun] = ()
    caption: str = ""
    """What the picture shows. It stands below it, unless :func:`remove_caption` took it away."""


def make_figure(*, width: float = COLUMN, height: float) -> tuple[RunFigure, Axes]:
    """Return a figure of ``width`` x ``height`` inches with one pair of plain axes."""
    figure, (axes,) = make_panels(1, 1, width=width, height=height)
    return figure, axes


def make_panels(
    rows: int,
    columns: int,
    *,
    width: float = COLUMN,
    height: float,
    share_x: bool = False,
    share_y: bool | Literal["row"] = True,
) -> tuple[RunFigure, list[Axes]]:
    """Return a figure of ``width`` x ``height`` inches, with plain axes row by row."""
    figure = RunFigure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    return figure, list(figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False).flat)


def make_halves(above: float, below: float, *, width: float = COLUMN) -> tuple[RunFigure, SubFigure, SubFigure]:
    """Return a figure of two parts of these heights in inches, whose names take no room from each other's panels."""
    figure = RunFigure(figsize=(width, above + below), dpi=DOTS_PER_INCH, layout="constrained")
    grid = GridSpec(2, 1, figure=figure, height_ratios=(above, below))
    return figure, figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])


def choose_mark(index: int, colours: Sequence[str] = PALETTE) -> tuple[str, str]:
    """Return the shape and the colour of the ``index``-th kind of marks."""
    return SHAPES[index // len(colours) % len(SHAPES)], colours[index % len(colours)]


def scale_mark(area: float, count: int) -> float:
    """Return the area in square points of each of ``count`` marks. Many marks shrink, so as not to hide each other."""
    return max(area * min(1.0, MANY_MARKS / max(count, 1)), 0.8)


def set_legend_marks(legend: Legend) -> None:
    """Give a legend's marks a fixed size, whatever their size in the panel."""
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([10])


def set_log_ticks(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic from ``low`` to ``high``, with a handful of ticks that are plain numbers."""
    axes.set_xscale("log")
    for steps in ((1, 2, 5), (1, 3), (1,)):
        numbers = [step * 10.0**power for power in range(-12, 13) for step in steps]
        ticks = [number for number in numbers if 0.999 * low <= number <= 1.001 * high]
        if len(ticks) <= 4:
            break
    ticks = ticks[:: 1 + (len(ticks) - 1) // 4] if len(ticks) > 1 else sorted({low, high})
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks], fontsize=TEXT_SIZE)
    axes.minorticks_off()


def make_note(note: str) -> RunFigure:
    """Return a figure that shows nothing but the text ``note``."""
    figure, axes = make_figure(height=1.4)
    axes.set_axis_off()
    text = _wrap(note, COLUMN, TEXT_SIZE)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT_SIZE)
    return figure


def set_title(figure: Figure, title: str) -> None:
    """Write ``title`` above a figure, in as many lines as it needs."""
    text = _wrap(title, figure.get_figwidth(), TEXT_SIZE + 1)
    figure.suptitle(text, fontsize=TEXT_SIZE + 1)


def set_caption(figure: RunFigure, caption: str) -> None:
    """Write ``caption`` below a figure, which grows by as many lines as it needs."""
    figure.caption = caption
    text = _wrap(caption, figure.get_figwidth(), SMALL_SIZE)
    figure.supxlabel(text, fontsize=SMALL_SIZE, x=0.01, ha="left")
    figure.set_figheight(figure.get_figheight() + _measure_caption(figure))


def remove_caption(figure: RunFigure) -> None:
    """Take the caption away from below a figure, with its room, for a page that sets the caption as its own text."""
    figure.set_figheight(figure.get_figheight() - _measure_caption(figure))
    figure.supxlabel("")


def _measure_caption(figure: RunFigure) -> float:
    """Return the height of the caption below a figure, in inches."""
    text = figure.get_supxlabel()
    return LINE_HEIGHT * (text.count("\n") + 1) + 0.05 if text else 0.0


def write_figure(figure: RunFigure, folder: Path, name: str) -> list[Path]:
    """Write a figure as ``name``.pdf and ``name``.png, the same bytes each time, and return the paths.

    A third file beside them names the runs that the figure was drawn from, if they are known.

    Raises:
        UserError: the folder cannot be written to.
    """
    make_folder(folder, "--out")
    written = [folder / f"{name}.pdf", folder / f"{name}.png"]
    # Type 42 embeds TrueType outlines: journals refuse matplotlib's default, Type 3.
    with mpl.rc_context({"pdf.fonttype": 42}):
        for path, metadata in zip(written, ({"CreationDate": None}, {}), strict=True):
            with open_replacement(path) as file:
                figure.savefig(file, format=path.suffix[1:], dpi=PRINTED_DOTS_PER_INCH, metadata=metadata)
    if figure.runs:
        written.append(folder / f"{name}{SUFFIX}")
        with open_replacement(written[-1]) as file:
            file.write((json.dumps({"figure": name, "runs": describe_runs(figure.runs)}, indent=1) + "\n").encode())
    return written


def _wrap(text: str, width: float, size: float) -> str:
    """Break ``text`` into lines that fit ``width`` inches in matplotlib's default font."""
    return textwrap.fill(text, max(int(width * 72 / (0.56 * size)), 1), break_long_words=True)


def balance_lines(text: str, width: int) -> str:
    """Break a text between words into as few lines of at most ``width`` characters as possible, of similar lengths."""
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for narrower in range(width - 1, 0, -1):
        shorter = textwrap.wrap(text, narrower, break_long_words=False, break_on_hyphens=False)
        if len(shorter) > len(lines):
            break
        lines = shorter
    return "\n".join(lines)


def break_words(name: str) -> str:
    """Break a name between words into short lines, without a change of its words."""
    return textwrap.fill(name, 12, break_long_words=False, break_on_hyphens=False)


def move_apart(positions: Sequence[float], gap: float) -> list[float]:
    """Move positions apart until neighbours are at least ``gap`` from each other. Their mean stays."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed: list[float] = []
    for index in order:
        placed.append(max(positions[index], placed[-1] + gap) if placed else positions[index])
    shift = sum(at - positions[index] for at, index in zip(placed, order, strict=True)) / max(len(order), 1)
    moved = dict(zip(order, placed, strict=True))
    return [moved[index] - shift for index in range(len(positions))]
