"""Parallel coordinates as a page: lines that are filtered by dragging along an axis."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import plotly.graph_objects as go
from matplotlib.colors import to_hex

from analysis.figures import style
from analysis.figures.parallel_coordinates import (
    BEST_COLOUR,
    NO_TRIALS,
    UNSET_POSITION,
    Axis,
    describe_lines,
    make_axes,
    name_line,
    scale_scores,
)
from analysis.runs.names import name_role
from analysis.runs.trials import REFERENCES, Trial, find_best, list_trials
from csg.tracking import TrackedRun

PLOTLY_CONFIG: Final = {"showSendToCloud": False, "plotlyServerURL": "", "displaylogo": False, "responsive": True}
"""Removes plotly's button that uploads the data to its makers."""
STROKES: Final = 5
"""Lines next to each other that the best trial has, because plotly draws all of them equally thin."""
STROKE: Final = 0.003
"""Their distance, as a share of the height."""
PIXELS_PER_AXIS: Final = 84
"""Where the window has less, the axes scroll sideways; the score, which is the first, stays in sight."""
STYLE: Final = (
    "body { font: 14px/1.4 system-ui, sans-serif; margin: 12px; color: #1b1b1b; background: #fff } "
    "h1 { font-size: 16px; margin: 0 0 4px } p { margin: 0 0 4px; max-width: 60em } .axes { overflow-x: auto } "
    f".best {{ color: {BEST_COLOUR}; font-weight: bold }}"
)


def write_parallel_coordinates(
    runs: Iterable[TrackedRun], score: str, names: Sequence[str], *, title: str = "", logarithmic: Collection[str] = ()
) -> str:
    """Return a page with the lines of :func:`~analysis.figures.parallel_coordinates.draw_parallel_coordinates`.

    The score is its first axis and the trial's number its last. The page contains plotly.js and works without a
    network.
    """
    trials = list_trials(runs, score)
    heading = html.escape(title or "Parallel coordinates")
    if not trials:
        return _fill_page(heading, [NO_TRIALS], "")
    best = find_best(trials)
    *settings, epochs, scores = make_axes(trials, score, names, logarithmic)
    columns = [scores, epochs, *settings, Axis.of("trial", [trial.number for trial in trials])]
    figure = go.Figure(_make_trace(trials, columns, score, best))
    figure.update_layout(height=430, margin={"t": 20, "l": 70, "r": 50, "b": 90})
    plot: str = figure.to_html(
        config=PLOTLY_CONFIG, include_plotlyjs=True, full_html=False, div_id="parallel-coordinates"
    )
    notes = [
        *([] if best is None else [f"<span class='best'>Red, the {html.escape(name_line(best, best))}.</span>"]),
        *(f"Trial {trial.number}: {name_role(trial.role)}." for trial in trials if trial.role in REFERENCES),
        "The darker, the better.",
        html.escape(describe_lines(score, trials)),
        "Drag along an axis to select trials, drag its name to move it.",
    ]
    width = PIXELS_PER_AXIS * len(columns)
    return _fill_page(heading, notes, f"<div class='axes'><div style='min-width: {width}px'>{plot}</div></div>")


def _fill_page(heading: str, notes: Sequence[str], plot: str) -> str:
    head = f"<meta charset='utf-8'><title>{heading}</title><style>{STYLE}</style>"
    text = f"<h1>{heading}</h1><p>{' '.join(filter(None, notes))}</p>"
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>{text}{plot}</body></html>\n"


def _make_trace(trials: Sequence[Trial], columns: Sequence[Axis], score: str, best: Trial | None) -> Any:
    """Return plotly's trace. Beyond the colours are grey, for trials without a score, and the best's red."""
    scores = scale_scores(trials, score)
    known = [value for value in scores if value is not None] or [0.0]
    low, high = (min(known), max(known)) if len(set(known)) > 1 else (known[0] - 1, known[0])
    margin = 0.1 * (high - low)
    shades = [
        *((twelfth / 12, style.GREY) for twelfth in (0, 0.5)),
        *((twelfth / 12, to_hex(style.SCORE_COLOURS((twelfth - 1) / 10))) for twelfth in range(1, 12)),
        *((twelfth / 12, BEST_COLOUR) for twelfth in (11.5, 12)),
    ]
    strokes = [
        (place, stroke) for place, trial in enumerate(trials) for stroke in range(STROKES if trial is best else 1)
    ]
    colours = [
        high + margin if trial is best else low - margin if value is None else value
        for trial, value in zip(trials, scores, strict=True)
    ]
    line = {
        "color": [colours[place] for place, _ in strokes],
        "cmin": low - margin,
        "cmax": high + margin,
        "colorscale": [list(shade) for shade in shades],
    }
    return go.Parcoords(
        line=line,
        dimensions=[_describe_axis(column, strokes) for column in columns],
        labelfont={"size": 12},
        labelside="bottom",
        tickfont={"size": 11},
    )


def _describe_axis(column: Axis, strokes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return plotly's description of an axis.

    plotly selects from tick to tick, so every trial gets a tick, with an invisible text. The texts differ, because
    plotly takes equal texts for the same tick.

    Args:
        column: the axis.
        strokes: the trial of each line, by its place, and the line's number among those of the trial.
    """
    ticks = dict(column.ticks)
    silent = sorted(set(column.positions) - set(ticks)) if not column.discrete else []
    invisible = {at: f"{index:b}".replace("0", "\u200b").replace("1", "\u200c") for index, at in enumerate(silent)}
    texts = {at: html.escape(text) for at, text in ticks.items()} | invisible
    lowest = UNSET_POSITION if UNSET_POSITION in column.positions else 0
    return {
        "label": html.escape(style.break_words(column.name)).replace("\n", "<br>"),
        "values": [
            column.positions[place] + STROKE * ((stroke + 1) // 2) * (-1) ** stroke for place, stroke in strokes
        ],
        "range": [lowest, 1],
        "tickvals": sorted(texts),
        "ticktext": [texts[at] for at in sorted(texts)],
    }
