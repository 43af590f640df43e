"""Parallel coordinates: every trial as one line across its settings, the epoch that it reached and its score."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_hex
from matplotlib.patheffects import Normal, Stroke

from analysis.figures import style
from analysis.figures.setting_scale import Scale
from analysis.runs.metrics import find_protocol
from analysis.runs.names import name_metric, name_role, name_setting
from analysis.runs.trials import REFERENCES, Trial, find_best, list_trials
from csg.tracking import TrackedRun
from csg.training.score_words import Unit

UNSET_POSITION = -0.16
"""The position of a setting that a trial does not have, below the axis."""
INCHES_PER_AXIS = 0.78
MANY = 80
"""The number of trials above which lines are thinner."""
NO_TRIALS = "This search has no trials yet."
BEST_COLOUR = style.RED
DASHES = {"source_only": (0, (1.2, 1.2)), "default": (0, (4, 1.5))}


@dataclass(frozen=True)
class Axis:
    """One vertical axis and where each trial crosses it, from 0 (lowest) to 1."""

    name: str
    positions: list[float]
    ticks: list[tuple[float, str]]
    discrete: bool

    @classmethod
    def of(cls, name: str, values: Sequence[Any], unset: str = "not set", *, logarithmic: bool = False) -> Axis:
        """Scale ``values``, one a trial. None has a position of its own, which is called ``unset``."""
        scale = Scale.of((value for value in values if value is not None), logarithmic=logarithmic)
        positions = [UNSET_POSITION if value is None else scale.compute_position(value) for value in values]
        missing = [(UNSET_POSITION, unset)] if None in values else []
        return cls(name, positions, missing + scale.choose_ticks(), scale.kind == "category")


def make_axes(
    trials: Sequence[Trial], score: str, names: Sequence[str], logarithmic: Collection[str] = ()
) -> list[Axis]:
    """Return an axis for each setting that any trial has, one for the last measured epoch, and one for its score."""
    values = {name: [trial.run.params.get(name) for trial in trials] for name in names}
    settings = [
        Axis.of(name_setting(name), found, logarithmic=name in logarithmic)
        for name, found in values.items()
        if any(value is not None for value in found)
    ]
    epochs = Axis.of("epoch reached", [trial.epoch for trial in trials])
    return [*settings, epochs, Axis.of(name_score(score), scale_scores(trials, score), unset="no score")]


def name_score(score: str) -> str:
    """Name a selection score with its unit."""
    return Unit.of(score).name_axis(name_metric(score))


def scale_scores(trials: Sequence[Trial], score: str) -> list[float | None]:
    """Return the trials' scores in the unit that people read."""
    factor = Unit.of(score).factor
    return [None if trial.score is None else factor * trial.score for trial in trials]


def draw_parallel_coordinates(
    runs: Iterable[TrackedRun], score: str, names: Sequence[str], *, logarithmic: Collection[str] = ()
) -> style.RunFigure:
    """Draw every trial as a line, coloured by its score at the last epoch that it reached (:attr:`Trial.score`).

    The last epoch is an axis, because scores of different epochs cannot be compared. Quantities that are searched
    logarithmically, or span two decades, have a logarithmic axis. A setting that a trial lacks is drawn below its axis,
    at "not set". Trials without a score are grey. The best finished trial is a broad red line on top of all others. The
    two reference trials are dashed and named. Lines through the same category are fanned out a little.

    Args:
        runs: the trials, with the history of ``score``.
        score: the metric that the search maximises.
        names: the searched settings, in the order of their axes.
        logarithmic: those of them that are searched logarithmically.
    """
    trials = sorted(list_trials(runs, score), key=_get_height)
    if not trials:
        return style.make_note(NO_TRIALS)
    best = find_best(trials)
    columns = make_axes(trials, score, names, logarithmic)
    figure, axes = style.make_figure(width=max(7.0, INCHES_PER_AXIS * len(columns)), height=3.2)
    axes.set_axis_off()
    colours, scale = _choose_colours(trials)
    _draw_lines(axes, trials, columns, colours, best)
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
    _name_lines(axes, trials, columns, best)
    lowest = UNSET_POSITION if any(UNSET_POSITION in column.positions for column in columns) else 0
    axes.set(xlim=(-0.45, len(columns) - 0.45), ylim=(lowest - 0.05, 1.04))
    style.set_caption(figure, describe_lines(score, trials))
    return figure


def _get_height(trial: Trial) -> tuple[bool, float]:
    """Return a key that sorts trials for drawing: high scores and the references come last and lie on top."""
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


def _draw_lines(
    axes: Axes, trials: Sequence[Trial], columns: Sequence[Axis], colours: Sequence[str], best: Trial | None
) -> None:
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
        if trial is best:
            line |= {"lw": 2.6, "alpha": 1, "zorder": 2.5, "path_effects": halo}
        colour = BEST_COLOUR if trial is best else colours[index]
        axes.add_collection(LineCollection([lines[index]], colors=[colour], **line), autolim=False)


def _draw_axis(axes: Axes, at: int, column: Axis) -> None:
    axes.vlines(at, 0, 1, colors="black", linewidth=0.8, zorder=3)
    axes.text(at, 1.05, style.break_words(column.name), ha="center", va="bottom", fontsize=style.TEXT_SIZE)
    for position, text in column.ticks:
        axes.plot([at - 0.04, at], [position, position], color="black", linewidth=0.8, zorder=3)
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6}
        axes.text(at - 0.06, position, text, ha="right", va="center", fontsize=style.SMALL_SIZE, bbox=box, zorder=5)


def _name_lines(axes: Axes, trials: Sequence[Trial], columns: Sequence[Axis], best: Trial | None) -> None:
    """Write the names of the best and of the reference trials at the ends of their lines."""
    named = [
        (name_line(trial, best), trial is best, columns[-1].positions[index])
        for index, trial in enumerate(trials)
        if trial.role in REFERENCES or trial is best
    ]
    places = style.move_apart([position for *_, position in named], 0.06)
    for (name, is_best, _), place in zip(named, places, strict=True):
        look: dict[str, Any] = {"color": BEST_COLOUR, "fontweight": "bold"} if is_best else {}
        axes.text(len(columns) - 1 + 0.1, place, name, va="center", fontsize=style.SMALL_SIZE, zorder=5, **look)


def name_line(trial: Trial, best: Trial | None) -> str:
    """Name a trial that stands out."""
    name = name_role(trial.role) if trial.role in REFERENCES else f"trial {trial.number}"
    return f"best: {name}" if trial is best else name


def describe_lines(score: str, trials: Sequence[Trial]) -> str:
    """Return sentences on what the colours are, and by what protocol the search selects."""
    protocol = find_protocol(score)
    parts = [f"Selection protocol: {protocol}."] if protocol else []
    best = any(trial.run.params.get("selection.epoch") == "best" for trial in trials)
    if not any(trial.score is not None for trial in trials):
        parts.append("No trial has a score.")
    elif len({trial.epoch for trial in trials}) > 1:
        lengths = {trial.run.params.get("train.epochs") for trial in trials}
        what = "the same epoch" if len(lengths) < 2 else "the same share of their epochs"
        which = "last epoch reached, or of a finished trial at its best epoch" if best else "last epoch reached"
        parts.append(f"Colour is the score at the {which}: compare only trials that reached {what}.")
    elif best:
        parts.append("Colour is the score at a trial's best epoch.")
    return " ".join(parts)
