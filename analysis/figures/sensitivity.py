"""How the score on real images depends on the temperature and on the stages' weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.feature_panels import finished_cells
from analysis.figures.figure_style import (
    BLACK,
    BLUE,
    ORANGE,
    PALETTE,
    SHAPES,
    SMALL_SIZE,
    TEXT_SIZE,
    RunFigure,
    mark_area,
    new_panels,
    set_caption,
    set_legend_marks,
    set_log_ticks,
)
from analysis.runs.cells import MixedRunsError, by_seed, check_unmixed, whole
from analysis.runs.comparable import Comparable, NoDataError, comparable, comparable_with
from analysis.runs.newest import note_of_empty
from analysis.runs.run_table import AblationRuns, SearchRuns
from analysis.runs.task_figures import task_of
from analysis.statistics.inference import MeanEstimate, mean_interval
from analysis.tables.protocol_table import distinct_finished
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun

SWEEPS: Final = {
    "method.temperature": re.compile(r"method\.temperature"),
    "method.stage*.weight": re.compile(r"method\.stage\d\.weight"),
}
"""The settings of each panel."""


@dataclass(frozen=True)
class Curve:
    """The score on real images over the values of one setting, all else equal."""

    design: str
    names: tuple[str, ...]
    """The settings that have the value, alike."""
    points: Mapping[float, MeanEstimate]
    """By value: the mean over seeds, in %."""
    reference: TrackedRun
    """One of the runs; what stands in the same panel must be comparable with it."""
    runs: tuple[TrackedRun, ...]
    """Of all cells."""
    said: tuple[str, ...]
    """What a caption must say of these runs."""


def curve_of(ablation: AblationRuns, pattern: re.Pattern[str], *, mix: Collection[str] = ()) -> Curve | None:
    """Return the curve of an ablation in which nothing but settings of ``pattern`` differs; None where it is no such.

    Settings that differ between runs of one cell (the seed, what a machine adds) are not what the cells differ in.
    Several settings that ``pattern`` matches must be alike in each cell.

    Raises:
        MixedRunsError: runs that must not be mixed.
    """
    cells = finished_cells(ablation)
    names = _differing(list(cells.values()))
    if not names or not all(pattern.fullmatch(name) for name in names):
        return None
    values = [_common_value(runs[0], names) for runs in cells.values()]
    if any(value is None for value in values):
        return None
    said = check_unmixed(cells, allowed=mix)
    points = {}
    for value, runs in zip(values, cells.values(), strict=True):
        accuracies = by_seed(runs, task_of(runs).real_score)
        if value is not None and whole(accuracies):
            points[value] = mean_interval([100 * each for each in accuracies.values()])
    reference = next(iter(cells.values()))[-1]
    drawn = tuple(run for runs in cells.values() for run in runs)
    return Curve(ablation.design, tuple(names), dict(sorted(points.items())), reference, drawn, tuple(said))


def _common_value(run: TrackedRun, names: Sequence[str]) -> float | None:
    """Return the number that all these settings have, alike; None where they differ, or are no numbers."""
    values = {run.params.get(name) for name in names}
    (value, *others) = values
    return float(value) if not others and isinstance(value, int | float) else None


def _differing(cells: Sequence[Sequence[TrackedRun]]) -> list[str]:
    """Name the settings that are the same in all runs of each cell, but not in all cells."""
    everything = [run for runs in cells for run in runs]

    def values(runs: Sequence[TrackedRun], name: str) -> set[str]:
        return {repr(run.params.get(name)) for run in runs}

    return [
        name
        for name in sorted({name for run in everything for name in run.params})
        if all(len(values(runs, name)) == 1 for runs in cells) and len(values(everything, name)) > 1
    ]


def sensitivity(
    ablations: Sequence[AblationRuns], searches: Sequence[SearchRuns], *, mix: Collection[str] = ()
) -> RunFigure:
    """Draw a panel for each of ``SWEEPS``: the newest ablation of its settings as a curve, searches' trials as points.

    An ablation that has no two finished cells makes no curve, and hides no older one; the caption names it.

    Raises:
        NoDataError: there is neither an ablation of these settings nor a finished trial that has them.
        MixedRunsError: every ablation of a panel's settings has runs that must not be mixed.
    """
    trials = distinct_finished(run for search in searches for run in search.runs)
    shown: dict[str, tuple[Curve | None, Comparable]] = {}
    for title, pattern in SWEEPS.items():
        curve = _newest(ablations, pattern, mix)
        having = [run for run in trials if _settings(run, pattern)]
        points = comparable_with(curve.reference, having, mix=mix) if curve else comparable(having, mix=mix)
        values = {
            *(curve.points if curve else ()),
            *(at for run in points.runs for at in _settings(run, pattern).values()),
        }
        if len(values) > 1:
            shown[title] = (curve, points)
    if not shown:
        raise NoDataError(f"no two values of {' or '.join(SWEEPS)} among ablations and finished trials")
    figure, panels = new_panels(1, len(shown), height=2.9)
    for axes, (title, (curve, points)) in zip(panels, shown.items(), strict=True):
        _panel(axes, title, curve, points)
    set_caption(figure, _caption(list(shown.values())))
    drawn = [run for curve, points in shown.values() for run in (*(curve.runs if curve else ()), *points.runs)]
    figure.runs = list({run.run_id: run for run in drawn}.values())
    panels[0].set_ylabel(f"real {task_of(drawn).score_words} (%)", fontsize=TEXT_SIZE)
    return figure


def _newest(ablations: Sequence[AblationRuns], pattern: re.Pattern[str], mix: Collection[str]) -> Curve | None:
    """Return the newest ablation's curve that can be drawn, which says of newer ones of its design why they are not.

    Raises:
        MixedRunsError: there are such ablations, and all of them mix what must not be.
    """
    refused: dict[str, MixedRunsError] = {}
    single: Curve | None = None
    for place, ablation in reversed(list(enumerate(ablations))):
        try:
            curve = curve_of(ablation, pattern, mix=mix)
        except MixedRunsError as error:
            refused[ablation.parent.run_id] = MixedRunsError(f"{ablation.key}: {error}")
            continue
        if curve is None or not curve.points:
            continue
        newer = [each for each in ablations[place + 1 :] if each.design == ablation.design]
        hidden = [
            f"Newer, but not shown here: {each.key}, which mixes runs."
            for each in newer
            if each.parent.run_id in refused
        ]
        said = (*curve.said, *filter(None, [note_of_empty(newer)]), *hidden)
        curve = dataclasses.replace(curve, said=said)
        if len(curve.points) > 1:
            return curve
        single = single or curve
    if single is None and refused:
        raise next(iter(refused.values()))
    return single


def _panel(axes: Axes, title: str, curve: Curve | None, points: Comparable) -> None:
    values: list[float] = []
    real = task_of(points.runs).real_score
    settings = [_settings(run, SWEEPS[title]) for run in points.runs]
    for index, name in enumerate(sorted({name for each in settings for name in each})):
        at = [each[name] for each in settings if name in each]
        values += at
        accuracies = [100 * run.metrics[real] for run, each in zip(points.runs, settings, strict=True) if name in each]
        colour = (ORANGE, *PALETTE[2:])[index]
        label = f"search, {_short(name)}"
        axes.scatter(
            at,
            accuracies,
            s=mark_area(9, len(at)),
            marker=SHAPES[index % 4],
            c=colour,
            alpha=0.6,
            lw=0,
            label=label,
            zorder=2,
        )
    if curve is not None:
        _draw(axes, curve)
        values += curve.points
    if min(values) > 0:
        low, high = min(values), max(values)
        set_log_ticks(axes, low, high)
        axes.set_xlim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(title, fontsize=TEXT_SIZE)
    set_legend_marks(
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=SMALL_SIZE, frameon=False, borderaxespad=0.2)
    )


def _draw(axes: Axes, curve: Curve) -> None:
    """Draw the means, joined, with their intervals where there are any."""
    at = list(curve.points)
    means = [estimate.mean for estimate in curve.points.values()]
    several = len(curve.names) > 1
    label = f"ablation, {'stages alike' if several else _short(curve.names[0])}"
    axes.plot(at, means, color=BLUE, lw=1, marker="o", ms=3, label=label, zorder=4)
    for value, estimate in curve.points.items():
        if estimate.interval is not None:
            axes.plot([value] * 2, [estimate.interval.low, estimate.interval.high], color=BLACK, lw=0.7, zorder=3)


def _settings(run: TrackedRun, pattern: re.Pattern[str]) -> dict[str, float]:
    """Return the settings that a run has of ``pattern``, by name."""
    return {
        name: float(value)
        for name, value in run.params.items()
        if pattern.fullmatch(name) and isinstance(value, int | float)
    }


def _short(name: str) -> str:
    """Name a setting within its panel: a stage, or the setting itself."""
    found = re.fullmatch(r"method\.stage(\d)\.weight", name)
    return f"stage {found[1]}" if found else name.removeprefix("method.")


def _caption(shown: Sequence[tuple[Curve | None, Comparable]]) -> str:
    curves = [curve for curve, _ in shown if curve is not None]
    said = []
    if curves:
        sizes = [estimate.n for curve in curves for estimate in curve.points.values()]
        seeds = f"{min(sizes)} to " if min(sizes) < max(sizes) else ""
        seeds += pluralize(max(sizes), "seed")
        designs = list(dict.fromkeys(curve.design for curve in curves))
        names = f"ablation{'s' if len(designs) > 1 else ''} {', '.join(designs)}"
        bars = "bars: Student's t 95 % intervals of the mean" if max(sizes) > 1 else "one seed, so no interval"
        said.append(f"Line: mean over {seeds} of a cell ({names}), all else equal; {bars}.")
    if any(points.runs for _, points in shown):
        said.append(
            "Points: finished trials of searches, one seed each; all other searched settings vary too, and the sampler "
            "chose where to look: they are no curve."
        )
    said += dict.fromkeys(sentence for curve in curves for sentence in curve.said)
    notes = dict.fromkeys(points.note.strip() for _, points in shown if points.note)
    return " ".join([*said, *notes])
