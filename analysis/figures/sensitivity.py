"""How the score on real images depends on the temperature and on the weights of the stages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.inference.t_tests import MeanEstimate, estimate_mean
from analysis.runs.comparable import (
    Comparable,
    MixedRunsError,
    NoDataError,
    check_unmixed,
    collect_by_seed,
    is_complete,
    keep_comparable,
    keep_comparable_with,
    keep_distinct,
)
from analysis.runs.metrics import get_task
from analysis.runs.names import name_setting
from analysis.runs.newest import describe_empty
from analysis.runs.run_table import AblationRuns, SearchRuns
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun

SWEEPS: Final = {
    "method.temperature": re.compile(r"method\.temperature"),
    "method.stage*.weight": re.compile(r"method\.stage\d\.weight"),
}
"""The settings of each panel."""
TITLES: Final = {"method.temperature": "temperature", "method.stage*.weight": "weight of a stage"}
"""What these are called below the panels."""


@dataclass(frozen=True)
class Curve:
    """The score on real images by the value of one setting, with all other settings equal."""

    design: str
    names: tuple[str, ...]
    """The settings that have the value; all of them have the same."""
    points: Mapping[float, MeanEstimate]
    """The mean over seeds, in %, by value."""
    reference: TrackedRun
    """One of the runs. Everything in the same panel must be comparable with it."""
    runs: tuple[TrackedRun, ...]
    """The runs of all cells."""
    notes: tuple[str, ...]
    """Sentences for the caption."""


def make_curve(ablation: AblationRuns, pattern: re.Pattern[str], *, mix: Collection[str] = ()) -> Curve | None:
    """Return the curve of an ablation whose cells differ in settings of ``pattern`` alone; None for any other ablation.

    If cells differ in several settings of ``pattern``, these must be equal to each other in every cell.

    Raises:
        MixedRunsError: runs that must not be mixed.
    """
    cells = {name: runs for name, runs in ablation.finished_cells.items() if runs}
    names = _list_varied(cells)
    if not names or not all(pattern.fullmatch(name) for name in names):
        return None
    values = [_get_common_value(runs[0], names) for runs in cells.values()]
    if any(value is None for value in values):
        return None
    mixed = check_unmixed(cells, mix=mix)
    points = {}
    for value, runs in zip(values, cells.values(), strict=True):
        accuracies = collect_by_seed(runs, get_task(runs).real_score)
        if value is not None and is_complete(accuracies):
            points[value] = estimate_mean([100 * each for each in accuracies.values()])
    reference = next(iter(cells.values()))[-1]
    drawn = tuple(run for runs in cells.values() for run in runs)
    return Curve(ablation.design, tuple(names), dict(sorted(points.items())), reference, drawn, tuple(mixed))


def _get_common_value(run: TrackedRun, names: Sequence[str]) -> float | None:
    """Return the number that all these settings have; None if they differ or are not numbers."""
    values = {run.params.get(name) for name in names}
    (value, *others) = values
    return float(value) if not others and isinstance(value, int | float) else None


def _list_varied(cells: Mapping[str, Sequence[TrackedRun]]) -> list[str]:
    """Return the settings that have one value in each cell but several over all cells.

    So the seed, and settings that depend on the machine, are not among them.
    """
    frame = pd.DataFrame([run.params for runs in cells.values() for run in runs], dtype=object).map(repr)
    by_cell = frame.groupby([name for name, runs in cells.items() for _ in runs]).nunique()
    return sorted(frame.columns[(by_cell == 1).all() & (frame.nunique() > 1)])


def draw_sensitivity(
    ablations: Sequence[AblationRuns], searches: Sequence[SearchRuns], *, mix: Collection[str] = ()
) -> style.RunFigure:
    """Draw a panel for each of ``SWEEPS``: the newest ablation of its settings as a curve, searches' trials as points.

    An ablation with fewer than two finished cells makes no curve and hides no older one. The caption names it.

    Raises:
        NoDataError: there is neither an ablation of these settings nor a finished trial that has them.
        MixedRunsError: every ablation of a panel's settings has runs that must not be mixed.
    """
    trials = [run for search in searches for run in search.runs]
    shown: dict[str, tuple[Curve | None, Comparable]] = {}
    for title, pattern in SWEEPS.items():
        curve = _choose_curve(ablations, pattern, mix)
        having = [run for run in trials if _get_settings(run, pattern)]
        points = (
            keep_comparable_with(curve.reference, having, mix=mix)
            if curve
            else keep_comparable(keep_distinct(having), mix=mix)
        )
        values = {
            *(curve.points if curve else ()),
            *(at for run in points.runs for at in _get_settings(run, pattern).values()),
        }
        if len(values) > 1:
            shown[title] = (curve, points)
    if not shown:
        raise NoDataError(f"no two values of {' or '.join(TITLES.values())} among ablations and finished trials")
    figure, panels = style.make_panels(1, len(shown), height=2.3)
    for axes, (title, (curve, points)) in zip(panels, shown.items(), strict=True):
        _draw_panel(axes, title, curve, points)
    style.set_caption(figure, _write_caption(list(shown.values())))
    drawn = [run for curve, points in shown.values() for run in (*(curve.runs if curve else ()), *points.runs)]
    figure.runs = list({run.run_id: run for run in drawn}.values())
    panels[0].set_ylabel(f"real {get_task(drawn).score_words} (%)")
    return figure


def _choose_curve(ablations: Sequence[AblationRuns], pattern: re.Pattern[str], mix: Collection[str]) -> Curve | None:
    """Return the curve of the newest ablation that can be drawn, with notes on why newer ones of its design cannot.

    Raises:
        MixedRunsError: there are such ablations, and all of them have runs that must not be mixed.
    """
    refused: dict[str, MixedRunsError] = {}
    short: set[str] = set()
    single: Curve | None = None
    for place, ablation in reversed(list(enumerate(ablations))):
        try:
            curve = make_curve(ablation, pattern, mix=mix)
        except MixedRunsError as error:
            refused[ablation.parent.run_id] = MixedRunsError(f"{ablation.key}: {error}")
            continue
        if (curve is None or len(curve.points) < 2) and ablation.finished:
            short.add(ablation.parent.run_id)
        if curve is None or not curve.points:
            continue
        newer = [each for each in ablations[place + 1 :] if each.design == ablation.design]
        hidden = [
            f"Newer, but not shown here: {each.key}, which mixes runs."
            for each in newer
            if each.parent.run_id in refused
        ]
        hidden += [
            f"Newer, but without two finished values to draw, and not shown here: {each.key}."
            for each in newer
            if each.parent.run_id in short
        ]
        notes = (*curve.notes, *filter(None, [describe_empty(newer)]), *hidden)
        curve = dataclasses.replace(curve, notes=notes)
        if len(curve.points) > 1:
            return curve
        single = single or curve
    if single is None and refused:
        raise next(iter(refused.values()))
    return single


def _draw_panel(axes: Axes, title: str, curve: Curve | None, points: Comparable) -> None:
    values: list[float] = []
    real = get_task(points.runs).real_score
    settings = [_get_settings(run, SWEEPS[title]) for run in points.runs]
    for index, name in enumerate(sorted({name for each in settings for name in each})):
        at = [each[name] for each in settings if name in each]
        values += at
        accuracies = [100 * run.metrics[real] for run, each in zip(points.runs, settings, strict=True) if name in each]
        colour = (style.ORANGE, *style.PALETTE[2:])[index]
        label = f"search, {_shorten(name)}"
        axes.scatter(
            at,
            accuracies,
            s=style.scale_mark(9, len(at)),
            marker=style.SHAPES[index % 4],
            c=colour,
            alpha=0.6,
            lw=0,
            label=label,
            zorder=2,
        )
    if curve is not None:
        _draw_curve(axes, curve)
        values += curve.points
    if min(values) > 0:
        low, high = min(values), max(values)
        style.set_log_ticks(axes, low, high)
        axes.set_xlim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(TITLES[title])
    style.set_legend_marks(axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2))


def _draw_curve(axes: Axes, curve: Curve) -> None:
    """Draw the means, joined by a line, with their intervals if there are any."""
    at = list(curve.points)
    means = [estimate.mean for estimate in curve.points.values()]
    several = len(curve.names) > 1
    label = f"ablation, {'stages alike' if several else _shorten(curve.names[0])}"
    axes.plot(at, means, color=style.BLUE, lw=1, marker="o", ms=3, label=label, zorder=4)
    for value, estimate in curve.points.items():
        if estimate.interval is not None:
            axes.plot([value] * 2, [estimate.interval.low, estimate.interval.high], color=style.BLACK, lw=0.7, zorder=3)


def _get_settings(run: TrackedRun, pattern: re.Pattern[str]) -> dict[str, float]:
    """Return the numbers among a run's settings of ``pattern``, by name."""
    return {
        name: float(value)
        for name, value in run.params.items()
        if pattern.fullmatch(name) and isinstance(value, int | float)
    }


def _shorten(name: str) -> str:
    """Return a setting's name within its panel: its stage, or the setting itself."""
    found = re.fullmatch(r"method\.stage(\d)\.weight", name)
    return f"stage {found[1]}" if found else name_setting(name)


def _write_caption(shown: Sequence[tuple[Curve | None, Comparable]]) -> str:
    curves = [curve for curve, _ in shown if curve is not None]
    sentences = []
    if curves:
        sizes = [estimate.n for curve in curves for estimate in curve.points.values()]
        seeds = f"{min(sizes)} to " if min(sizes) < max(sizes) else ""
        seeds += pluralize(max(sizes), "seed")
        designs = list(dict.fromkeys(curve.design for curve in curves))
        names = f"ablation{'s' if len(designs) > 1 else ''} {', '.join(designs)}"
        bars = "bars: Student's t 95 % intervals of the mean" if max(sizes) > 1 else "one seed, so no interval"
        sentences.append(f"Line: mean over {seeds} of a cell ({names}), all else equal; {bars}.")
    if any(points.runs for _, points in shown):
        sentences.append(
            "Points: finished trials of searches, one seed each. The other searched settings vary too, and the sampler "
            "chose where to look, so the points are not a curve."
        )
    sentences += dict.fromkeys(note for curve in curves for note in curve.notes)
    notes = dict.fromkeys(points.note.strip() for _, points in shown if points.note)
    return " ".join([*sentences, *notes])
