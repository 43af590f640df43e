"""What a search may be expected to have found after so many trials, for each method."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.figure_style import (
    SMALL_SIZE,
    TEXT_SIZE,
    RunFigure,
    broken_lines,
    mark_of,
    new_panels,
    set_caption,
    set_log_ticks,
)
from analysis.runs.comparable import Comparable, NoDataError, comparable
from analysis.runs.newest import distinct_key
from analysis.runs.run_table import SearchRuns
from analysis.runs.task_figures import task_of
from analysis.runs.trials import REFERENCES
from analysis.statistics.inference import Interval
from analysis.statistics.trial_inference import ExpectedBest, expected_best
from analysis.tables.search_summary import SELECTION_SCORE
from csg.tracking import TrackedRun
from csg.tracking.tags import ROLE_TAG

BUDGETS = 40
"""Budgets at which a curve is computed, at most."""
LINEAR_UP_TO = 100
"""Trials from which on their number stands on a logarithmic axis."""
BAND_UP_TO = 0.1
"""Of the trials: intervals cover what they say up to there (see ``expected_best``)."""


@dataclass(frozen=True)
class BudgetCurve:
    """One search's expected best by budget."""

    label: str
    trials: int
    found: tuple[ExpectedBest, ...]

    @property
    def band(self) -> tuple[ExpectedBest, ...]:
        """Those whose intervals may be shown: none where these would be a single point."""
        kept = tuple(each for each in self.found if each.budget <= BAND_UP_TO * self.trials)
        return kept if len(kept) > 1 else ()


def candidates(search: SearchRuns) -> list[TrackedRun]:
    """Return the finished trials that the search suggested, with a score and a real one."""
    return [
        run
        for run in search.runs
        if run.status == "finished"
        and run.tags.get(ROLE_TAG) not in REFERENCES
        and all(
            math.isfinite(run.metrics.get(metric, math.nan)) for metric in (SELECTION_SCORE, task_of([run]).real_score)
        )
    ]


def budget_curves(searches: Sequence[SearchRuns], *, mix: Collection[str] = ()) -> tuple[list[BudgetCurve], Comparable]:
    """Compute a curve for each search with 2 finished trials or more, over trials that may be compared.

    Returns:
        The curves, and the trials of all searches that may be compared.
    """
    everything = [run for search in searches for run in candidates(search)]
    chosen = comparable(everything, mix=mix)
    kept = {run.run_id for run in chosen.runs}
    trials = [[run for run in candidates(search) if run.run_id in kept] for search in searches]
    drawn = [(search, runs) for search, runs in zip(searches, trials, strict=True) if len(runs) > 1]
    labels = _labels([search for search, _ in drawn])
    return [_curve(label, runs) for label, (_, runs) in zip(labels, drawn, strict=True)], chosen


def _curve(label: str, runs: Sequence[TrackedRun]) -> BudgetCurve:
    n = len(runs)
    budgets = sorted({round(float(budget)) for budget in np.geomspace(1, n, BUDGETS)})
    scores = [run.metrics[SELECTION_SCORE] for run in runs]
    outcomes = [run.metrics[task_of(runs).real_score] for run in runs]
    return BudgetCurve(label, n, tuple(expected_best(scores, budgets, outcomes=outcomes)))


def _labels(searches: Sequence[SearchRuns]) -> list[str]:
    """Name searches by method, with the protocol or the key where the method alone is ambiguous."""
    methods = [_method(search) for search in searches]
    full = [f"{method}, {search.protocol}" for method, search in zip(methods, searches, strict=True)]
    if len({search.protocol for search in searches}) < 2:
        full = methods
    return [
        f"{label} ({distinct_key(search, searches)})" if full.count(label) > 1 else label
        for label, search in zip(full, searches, strict=True)
    ]


def _method(search: SearchRuns) -> str:
    names = [str(run.params.get("method.name")) for run in candidates(search)]
    return max(dict.fromkeys(names), key=names.count)


def budget_figure(searches: Sequence[SearchRuns], *, mix: Collection[str] = ()) -> RunFigure:
    """Draw, by number of finished trials, the expected best score and the expected real score of that choice.

    Raises:
        NoDataError: no search has 2 finished trials of its own.
    """
    curves, chosen = budget_curves(searches, mix=mix)
    if not curves:
        raise NoDataError(f"no search has 2 comparable finished trials besides its reference trials.{chosen.remedy}")
    rows = math.ceil(len(curves) / 2)
    figure, (left, right) = new_panels(1, 2, height=3.15 + 0.14 * rows, share_y=False)
    for index, curve in enumerate(curves):
        colour = mark_of(index)[1]
        style = ("-", "--", ":", "-.")[index % 4]
        _line(left, curve, [(each.score, each.score_interval) for each in curve.found], colour, style)
        _line(right, curve, [(each.outcome or 0.0, each.outcome_interval) for each in curve.found], colour, style)
    left.set_ylabel("expected best selection score (%)", fontsize=TEXT_SIZE)
    words = task_of(chosen.runs).score_words
    right.set_ylabel(broken_lines(f"expected real {words} of that trial (%)", 26), fontsize=TEXT_SIZE)
    most = max(curve.trials for curve in curves)
    for axes in (left, right):
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("finished trials", fontsize=TEXT_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        if most > LINEAR_UP_TO:
            set_log_ticks(axes, 1, most)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=SMALL_SIZE, frameon=False)
    set_caption(figure, _caption(curves) + chosen.note)
    figure.runs = chosen.runs
    return figure


def _line(
    axes: Axes, curve: BudgetCurve, figures: Sequence[tuple[float, Interval | None]], colour: str, style: str
) -> None:
    budgets = [each.budget for each in curve.found]
    label = f"{curve.label} (n = {curve.trials})"
    axes.plot(budgets, [100 * value for value, _ in figures], color=colour, ls=style, lw=1.2, label=label)
    band = [interval for _, interval in figures[: len(curve.band)] if interval is not None]
    low, high = ([100 * getattr(interval, side) for interval in band] for side in ("low", "high"))
    axes.fill_between(budgets[: len(band)], low, high, color=colour, alpha=0.2, lw=0)


def _caption(curves: Sequence[BudgetCurve]) -> str:
    drawn = [curve for curve in curves if curve.band]
    band = "Bands, up to a tenth of the trials, where they cover: 95 % bootstrap intervals over trials."
    if not drawn:
        band = "No bands: with fewer than 20 trials there is no budget at which a bootstrap interval covers."
    return (
        "Expectation over all ways to draw so many of a search's finished trials without replacement, the trial with "
        "the best score chosen of each draw; reference trials not counted. TPE's trials are no independent draws: "
        "later ones look where earlier ones did well, and trials that were stopped early are not among them, so that "
        f"the curves describe these trials and are no forecast for a new search. {band}"
    )
