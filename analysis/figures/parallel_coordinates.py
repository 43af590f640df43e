"""Parallel coordinates: every trial as one line across its settings, the epoch that it reached and its score."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from analysis.figures import style
from analysis.figures.setting_scale import Scale
from analysis.runs.metrics import find_protocol
from analysis.runs.trials import REFERENCES, Trial, list_trials
from csg.tracking import TrackedRun
from csg.training.score_words import Unit

UNSET_POSITION = -0.16
"""The position of a setting that a trial does not have, below the axis."""
INCHES_PER_AXIS = 0.78
MANY = 80
"""The number of trials above which lines are thinner."""
NO_TRIALS = "This search has no trials yet."
PLOTLY_CONFIG = {"showSendToCloud": False, "plotlyServerURL": "", "displaylogo": False}
"""Removes plotly's button that uploads the data to its makers."""
DASHES = {"source_only": (0, (1.2, 1.2)), "default": (0, (4, 1.5))}


@dataclass(frozen=True)
class Axis:
    """One vertical axis and where each trial crosses it, from 0 (lowest) to 1."""

    name: str
    positions: list[float]
    ticks: list[tuple[float, str]]
    discrete: bool

    @classmethod
    def of(cls, name: str, values: Sequence[Any], unset: str = "not set") -> Axis:
        """Scale ``values``, one a trial. None has a position of its own, which is called ``unset``."""
        scale = Scale.of(value for value in values if value is not None)
        positions = [UNSET_POSITION if value is None else scale.position(value) for value in values]
        missing = [(UNSET_POSITION, unset)] if None in values else []
        return cls(name, positions, missing + scale.ticks(), scale.kind == "category")


def make_axes(trials: Sequence[Trial], score: str, names: Sequence[str]) -> list[Axis]:
    """Return an axis for each setting, one for the last measured epoch, and one for the score there."""
    settings = [Axis.of(name, [trial.run.params.get(name) for trial in trials]) for name in dict.fromkeys(names)]
    epochs = Axis.of("epoch reached", [trial.epoch for trial in trials])
    return [*settings, epochs, Axis.of(Unit.of(score).name_axis(score), _scale_scores(trials, score), unset="no score")]


def _scale_scores(trials: Sequence[Trial], score: str) -> list[float | None]:
    factor = Unit.of(score).factor
    return [None if trial.score is None else factor * trial.score for trial in trials]


def draw_parallel_coordinates(runs: Iterable[TrackedRun], score: str, names: Sequence[str]) -> Figure:
    """Draw every trial as a line, coloured by its score at the last epoch that it reached.

    That epoch is an axis, because scores of different epochs cannot be compared. Quantities that span two decades have
    a logarithmic axis. A setting that a trial lacks is drawn below its axis, at "not set". Trials without a score are
    grey. The two reference trials are dashed and named. Lines through the same category are fanned out a little.
    """
    trials = sorted(list_trials(runs, score), key=_get_height)
    if not trials:
        return style.make_note(NO_TRIALS)
    columns = make_axes(trials, score, names)
    figure, axes = style.make_figure(width=max(7.0, INCHES_PER_AXIS * len(columns)), height=3.2)
    axes.set_axis_off()
    colours, scale = _choose_colours(trials)
    _draw_lines(axes, trials, columns, colours)
    for at, column in enumerate(columns):
        _draw_axis(axes, at, column)
    if scale is not None:
        gradient = np.linspace(0, 1, 256)[:, None]
        last = len(columns) - 1
        axes.imshow(
            gradient,
            cmap=style.SCORE_COLOURS,
            origin="lower",
            aspect="auto",
            extent=(last, last + 0.07, 0, 1),
            zorder=4,
        )
    _name_references(axes, trials, columns)
    lowest = UNSET_POSITION if any(UNSET_POSITION in column.positions for column in columns) else 0
    axes.set(xlim=(-0.45, len(columns) - 0.45), ylim=(lowest - 0.05, 1.04))
    style.set_caption(figure, _write_caption(score, trials))
    return figure


def _get_height(trial: Trial) -> tuple[bool, float]:
    """Return a key that sorts trials for drawing: the best and the references come last and lie on top."""
    return trial.role in REFERENCES, -1.0 if trial.score is None else trial.score


def _choose_colours(trials: Sequence[Trial]) -> tuple[list[str], Normalize | None]:
    """Return the lines' colours, and their scale if scores differ."""
    scores = [trial.score for trial in trials if trial.score is not None]
    scale = Normalize(min(scores), max(scores)) if len(set(scores)) > 1 else None
    shades = [None if trial.score is None else 1.0 if scale is None else float(scale(trial.score)) for trial in trials]
    return [style.GREY if shade is None else to_hex(style.SCORE_COLOURS(shade)) for shade in shades], scale


def _fan_out(column: Axis) -> list[float]:
    """Spread lines that meet in one category or at "not set" over a small distance, in drawing order."""
    moved = list(column.positions)
    for position in set(moved):
        members = [index for index, other in enumerate(column.positions) if other == position]
        if column.discrete or position == UNSET_POSITION:
            reach = min(0.025, 0.004 * (len(members) - 1))
            for index, offset in zip(members, np.linspace(-reach, reach, len(members)), strict=True):
                moved[index] += float(offset)
    return moved


def _draw_lines(axes: Axes, trials: Sequence[Trial], columns: Sequence[Axis], colours: Sequence[str]) -> None:
    heights = np.array([_fan_out(column) for column in columns])
    steps = np.linspace(0, 1, 20)
    ease = (steps**2 * (3 - 2 * steps))[None, :, None]
    curves = heights[:-1, None, :] * (1 - ease) + heights[1:, None, :] * ease
    across = (np.arange(len(columns) - 1)[:, None] + steps).ravel()
    lines = [np.column_stack([across, curves[:, :, index].ravel()]) for index in range(len(trials))]
    width, alpha = (1.0, 0.75) if len(trials) <= MANY else (0.5, 0.5)
    halo = [Stroke(linewidth=3.5, foreground="white"), Normal()]
    for index, trial in enumerate(trials):
        line: dict[str, Any] = {"lw": width, "alpha": alpha, "linestyles": [DASHES.get(trial.role, "solid")]}
        if trial.role in REFERENCES:
            line |= {"lw": 2, "alpha": 1, "zorder": 2, "path_effects": halo}
        axes.add_collection(LineCollection([lines[index]], colors=[colours[index]], **line), autolim=False)


def _draw_axis(axes: Axes, at: int, column: Axis) -> None:
    axes.vlines(at, 0, 1, colors="black", linewidth=0.8, zorder=3)
    axes.text(at, 1.05, style.break_name(column.name), ha="center", va="bottom", fontsize=style.TEXT_SIZE)
    for position, text in column.ticks:
        axes.plot([at - 0.04, at], [position, position], color="black", linewidth=0.8, zorder=3)
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6}
        axes.text(at - 0.06, position, text, ha="right", va="center", fontsize=style.SMALL_SIZE, bbox=box, zorder=5)


def _name_references(axes: Axes, trials: Sequence[Trial], columns: Sequence[Axis]) -> None:
    """Write the names of the reference trials at the ends of their lines."""
    named = [
        (trial.role, columns[-1].positions[index]) for index, trial in enumerate(trials) if trial.role in REFERENCES
    ]
    places = style.move_apart([position for _, position in named], 0.06)
    for (role, _), place in zip(named, places, strict=True):
        axes.text(len(columns) - 1 + 0.1, place, role, va="center", fontsize=style.SMALL_SIZE, zorder=5)


def _write_caption(score: str, trials: Sequence[Trial]) -> str:
    protocol = find_protocol(score)
    parts = [f"Selection protocol: {protocol}."] if protocol else []
    if not any(trial.score is not None for trial in trials):
        parts.append("No trial has a score.")
    elif len({trial.epoch for trial in trials}) > 1:
        parts.append("Colour is the score at the last epoch reached: compare only trials that reached the same epoch.")
    return " ".join(parts)


def write_parallel_coordinates(runs: Iterable[TrackedRun], score: str, names: Sequence[str], *, title: str = "") -> str:
    """Return a page with the same lines, which are filtered by dragging along an axis.

    Three axes come first: the trial's number, its role (suggested, source_only, default) and its status. The page
    contains plotly.js and works without a network.
    """
    trials = list_trials(runs, score)
    heading = html.escape(title or "Parallel coordinates")
    figure = go.Figure()
    if trials:
        numbers = Axis.of("trial", [trial.number for trial in trials])
        roles = Axis.of("role", [trial.role for trial in trials])
        statuses = Axis.of("status", [trial.run.status for trial in trials])
        columns = [numbers, roles, statuses, *make_axes(trials, score, names)]
        figure.add_trace(_make_trace(trials, columns, score))
        note = (
            html.escape(_write_caption(score, trials))
            + " Drag along an axis to select trials; drag its name to move it."
        )
    else:
        note = NO_TRIALS
    caption = {"text": note, "xref": "paper", "yref": "paper", "x": 0, "y": 0, "yshift": -45, "showarrow": False}
    figure.update_layout(title=heading, annotations=[caption], margin={"t": 160, "l": 80, "r": 60, "b": 70})
    if not trials:
        figure.update_layout(xaxis_visible=False, yaxis_visible=False, plot_bgcolor="white")
    page: str = figure.to_html(
        config=PLOTLY_CONFIG, include_plotlyjs=True, full_html=True, div_id="parallel-coordinates"
    )
    return page.replace("<head>", f"<head><title>{heading}</title><style>body {{ margin: 0 }}</style>", 1)


def _make_trace(trials: Sequence[Trial], columns: Sequence[Axis], score: str) -> Any:
    """Return plotly's trace of the trials. Trials without a score are grey, below the colour scale."""
    scores = _scale_scores(trials, score)
    title = f"{html.escape(Unit.of(score).name_axis(score))} at the last epoch reached"
    known = [value for value in scores if value is not None] or [0.0]
    low, high = (min(known), max(known)) if len(set(known)) > 1 else (known[0] - 1, known[0])
    shades = [(step / 10, to_hex(style.SCORE_COLOURS(step / 10))) for step in range(11)]
    below = low
    if None in scores:
        below = low - 0.1 * (high - low)
        start = (low - below) / (high - below)
        coloured = [(start + (1 - start) * at, shade) for at, shade in shades]
        shades = [(0.0, style.GREY), (start / 2, style.GREY), (start / 2, shades[0][1]), *coloured]
    line = {
        "color": [below if value is None else value for value in scores],
        "cmin": below,
        "cmax": high,
        "colorscale": [[at, shade] for at, shade in shades],
        "showscale": len(set(known)) > 1,
        "colorbar": {
            "title": {"text": title, "side": "right"},
            "x": 1.06,
        },
    }
    return go.Parcoords(line=line, dimensions=[_describe_axis(column) for column in columns], labelangle=-18)


def _describe_axis(column: Axis) -> dict[str, Any]:
    """Return plotly's description of an axis.

    plotly selects from tick to tick, so every trial gets a tick, with an invisible text. The texts differ, because
    plotly takes equal texts for the same tick.
    """
    ticks = dict(column.ticks)
    silent = sorted(set(column.positions) - set(ticks)) if not column.discrete else []
    invisible = {at: f"{index:b}".replace("0", "\u200b").replace("1", "\u200c") for index, at in enumerate(silent)}
    texts = {at: html.escape(text) for at, text in ticks.items()} | invisible
    lowest = UNSET_POSITION if UNSET_POSITION in column.positions else 0
    return {
        "label": html.escape(column.name),
        "values": column.positions,
        "range": [lowest, 1],
        "tickvals": sorted(texts),
        "ticktext": [texts[at] for at in sorted(texts)],
    }
