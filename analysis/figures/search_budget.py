"""The expected best of a search by its number of trials, for each method."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.inference.expected_best import ExpectedBest, expected_best
from analysis.inference.t_tests import Interval
from analysis.runs.comparable import Comparable, NoDataError, keep_comparable
from analysis.runs.metrics import get_task, has_metrics
from analysis.runs.names import name_method
from analysis.runs.newest import make_unique_key
from analysis.runs.run_table import SearchRuns
from analysis.runs.trials import REFERENCES
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit
from csg.training.selection import SELECTION_SCORE

FEWEST_TRIALS = 8
"""Finished trials from which on a search has a curve."""
BUDGETS = 40
"""The largest number of budgets at which a curve is computed."""
LINEAR_UP_TO = 100
"""The number of trials above which the axis is logarithmic."""
BAND_UP_TO = 0.1
"""The share of the trials up to which intervals have their nominal coverage (see ``expected_best``)."""


@dataclass(frozen=True)
class BudgetCurve:
    """One search's expected best by budget."""

    label: str
    unit: Unit
    """Of the selection score."""
    trials: int
    found: tuple[ExpectedBest, ...]

    @property
    def band(self) -> tuple[ExpectedBest, ...]:
        """The part of the curve whose intervals are shown; empty if that is a single point."""
        kept = tuple(each for each in self.found if each.budget <= BAND_UP_TO * self.trials)
        return kept if len(kept) > 1 else ()


def list_candidates(search: SearchRuns) -> list[TrackedRun]:
    """Return the finished trials that the search suggested and that have a selection score and a real one."""
    return [
        run
        for run in search.runs
        if run.status == "finished"
        and run.tags.get(Tag.ROLE) not in REFERENCES
        and has_metrics(run, SELECTION_SCORE, get_task([run]).real_score)
    ]


def compute_curves(
    searches: Sequence[SearchRuns], *, mix: Collection[str] = ()
) -> tuple[list[BudgetCurve], Comparable]:
    """Compute a curve for each search with enough finished trials, over trials that may be compared.

    Returns:
        The curves, and the trials of all searches that may be compared.
    """
    everything = [run for search in searches for run in list_candidates(search)]
    chosen = keep_comparable(everything, mix=mix)
    kept = {run.run_id for run in chosen.runs}
    trials = [[run for run in list_candidates(search) if run.run_id in kept] for search in searches]
    drawn = [(search, runs) for search, runs in zip(searches, trials, strict=True) if len(runs) >= FEWEST_TRIALS]
    labels = _choose_labels([search for search, _ in drawn])
    return [
        _compute_curve(label, Unit.of(search.score), runs) for label, (search, runs) in zip(labels, drawn, strict=True)
    ], chosen


def _compute_curve(label: str, unit: Unit, runs: Sequence[TrackedRun]) -> BudgetCurve:
    n = len(runs)
    budgets = sorted({round(float(budget)) for budget in np.geomspace(1, n, BUDGETS)})
    scores = [run.metrics[SELECTION_SCORE] for run in runs]
    outcomes = [run.metrics[get_task(runs).real_score] for run in runs]
    return BudgetCurve(label, unit, n, tuple(expected_best(scores, outcomes, budgets)))


def _choose_labels(searches: Sequence[SearchRuns]) -> list[str]:
    """Return the method of each search, with the protocol or the key if the method alone is ambiguous."""
    methods = [name_method(_get_method(search)) for search in searches]
    full = [f"{method}, {search.protocol}" for method, search in zip(methods, searches, strict=True)]
    if len({search.protocol for search in searches}) < 2:
        full = methods
    return [
        f"{label} ({make_unique_key(search, searches)})" if full.count(label) > 1 else label
        for label, search in zip(full, searches, strict=True)
    ]


def _get_method(search: SearchRuns) -> str:
    names = [str(run.params.get("method.name")) for run in list_candidates(search)]
    return max(dict.fromkeys(names), key=names.count)


def draw_search_budget(searches: Sequence[SearchRuns], *, mix: Collection[str] = ()) -> style.RunFigure:
    """Draw the expected best score and the expected real score of that choice, by the number of finished trials.

    Raises:
        NoDataError: no search has ``FEWEST_TRIALS`` finished trials of its own.
    """
    curves, chosen = compute_curves(searches, mix=mix)
    if not curves:
        raise NoDataError(
            f"no search has {FEWEST_TRIALS} comparable finished trials besides its reference trials.{chosen.remedy}"
        )
    rows = math.ceil(len(curves) / 2)
    figure, (left, right) = style.make_panels(1, 2, height=2.15 + 0.14 * rows, share_y=False)
    for index, curve in enumerate(curves):
        colour = style.choose_mark(index)[1]
        dashes = ("-", "--", ":", "-.")[index % 4]
        scores = [(each.score, each.score_interval) for each in curve.found]
        _draw_curve(left, curve, scores, curve.unit.factor, colour=colour, dashes=dashes)
        outcomes = [(each.outcome, each.outcome_interval) for each in curve.found]
        _draw_curve(right, curve, outcomes, 100, colour=colour, dashes=dashes)
    units = {curve.unit for curve in curves}
    words = "expected best selection score"
    left.set_ylabel(units.pop().name_axis(words) if len(units) == 1 else words)
    words = get_task(chosen.runs).score_words
    right.set_ylabel(style.balance_lines(f"expected real {words} of that trial (%)", 26))
    most = max(curve.trials for curve in curves)
    for axes in (left, right):
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("finished trials")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        if most > LINEAR_UP_TO:
            style.set_log_ticks(axes, 1, most)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    style.set_caption(figure, _write_caption(curves) + chosen.note)
    figure.runs = chosen.runs
    return figure


def _draw_curve(
    axes: Axes,
    curve: BudgetCurve,
    figures: Sequence[tuple[float, Interval]],
    factor: float,
    *,
    colour: str,
    dashes: str,
) -> None:
    budgets = [each.budget for each in curve.found]
    label = f"{curve.label} (n = {curve.trials})"
    axes.plot(budgets, [factor * value for value, _ in figures], color=colour, ls=dashes, lw=1.2, label=label)
    band = [interval for _, interval in figures[: len(curve.band)]]
    low, high = ([factor * getattr(interval, side) for interval in band] for side in ("low", "high"))
    axes.fill_between(budgets[: len(band)], low, high, color=colour, alpha=0.2, lw=0)


def _write_caption(curves: Sequence[BudgetCurve]) -> str:
    drawn = [curve for curve in curves if curve.band]
    band = "Bands: 95 % bootstrap intervals over trials, up to a tenth of the trials, where they are reliable."
    if not drawn:
        band = "No bands: with fewer than 20 trials no bootstrap interval is reliable."
    return (
        "Expectation over all draws of so many of a search's finished trials without replacement; each draw chooses "
        "the trial with the best score. Reference trials are not counted. TPE's trials are not independent draws, "
        "because later ones look where earlier ones did well, and trials that were stopped early are missing. So the "
        f"curves describe these trials and do not predict a new search. {band}"
    )
