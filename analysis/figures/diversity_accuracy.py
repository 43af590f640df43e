"""Hyperspherical energy against real accuracy: whether the paper's thesis, more diverse is more accurate, holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.figure_style import (
    SMALL_SIZE,
    TEXT_SIZE,
    RunFigure,
    mark_area,
    mark_of,
    new_panels,
    set_caption,
    set_legend_marks,
)
from analysis.runs.comparable import NoDataError, comparable
from analysis.runs.task_figures import task_of
from analysis.statistics.trial_inference import RankCorrelation, rank_correlation
from analysis.tables.protocol_table import INTERVAL_FROM, distinct_finished
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun

ENERGIES = {"E_0 (mhe)": "target/test/E0_mhe", "E_1": "target/test/E1", "E_2": "target/test/E2"}
LITERAL = "E_0 in the convention mhe, log(1/d²); the literal log(1/d) is half of it and ranks alike."


def diversity_accuracy(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> RunFigure:
    """Draw every distinct finished run's energies against its real score, with rank correlations.

    Args:
        runs: of one experiment, the oldest first; of several versions or data those of the newest version, on the data
            that most of them have.
        mix: in what the runs may differ.

    Raises:
        NoDataError: fewer than 3 such runs.
    """
    chosen = comparable(distinct_finished(runs), mix=mix)
    if len(chosen.runs) < 3:
        raise NoDataError(
            f"{pluralize(len(chosen.runs), 'comparable finished run')}, and a rank correlation needs 3.{chosen.remedy}"
        )
    task = task_of(chosen.runs)
    methods = sorted({str(run.params.get("method.name")) for run in chosen.runs})
    figure, panels = new_panels(1, len(ENERGIES), height=2.75 + 0.13 * math.ceil(len(methods) / 3))
    found = {}
    for axes, (name, metric) in zip(panels, ENERGIES.items(), strict=True):
        drawn = [run for run in chosen.runs if math.isfinite(run.metrics.get(metric, math.nan))]
        found[name] = correlated(drawn, metric)
        _scatter(axes, drawn, metric, methods)
        axes.set_title(rho_text(found[name]), fontsize=SMALL_SIZE)
        axes.set_xlabel(name, fontsize=TEXT_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    panels[0].set_ylabel(f"real {task.score_words} (%)", fontsize=TEXT_SIZE)
    _legend(figure, panels[0])
    data = "" if "data" in mix else ", on one data fingerprint"
    caption = (
        f"{len(chosen.runs):,} distinct finished runs of all settings and seeds{data}. Above: "
        f"Spearman's rho and its 95 % bootstrap interval (from {INTERVAL_FROM} runs on); it takes runs as independent, "
        f"which seeds of one setting are not. {LITERAL} {verdict(found['E_0 (mhe)'], task.score_words)}{chosen.note}"
    )
    set_caption(figure, caption)
    figure.runs = chosen.runs
    return figure


def correlated(runs: Sequence[TrackedRun], metric: str) -> RankCorrelation:
    """Correlate a metric with the real score over runs that have both."""
    real = task_of(runs).real_score
    return rank_correlation([run.metrics[metric] for run in runs], [run.metrics[real] for run in runs])


def rho_text(found: RankCorrelation) -> str:
    """Write n, rho and, from 7 points on, its interval, over two lines."""
    if found.rho is None:
        return f"rho -\nn = {found.n:,}"
    interval = found.rho_interval if found.n >= INTERVAL_FROM else None
    limits = "" if interval is None else f" [{interval.low:.2f}, {interval.high:.2f}]"
    return f"rho = {found.rho:.2f}, n = {found.n:,}\n{limits.strip()}"


def verdict(found: RankCorrelation, score: str = "mean class accuracy") -> str:
    """Say by rule whether energy falls as the real score rises, which is called ``score``."""
    thesis = "More diverse (lower E_0) is more accurate"
    if score != "mean class accuracy":
        thesis = f"More diverse (lower E_0) has more {score}"
    if found.rho is None:
        return f"{thesis}: no answer, {found.reason}."
    if found.n < INTERVAL_FROM or found.rho_interval is None:
        return f"{thesis}: not to be judged from {found.n} runs (p = {found.rho_p:.2g})."
    if found.rho_interval.high < 0:
        return f"{thesis}: holds over these runs, the interval of rho lies below 0."
    if found.rho_interval.low > 0:
        return f"{thesis}: the reverse holds over these runs, the interval of rho lies above 0."
    return f"{thesis}: not shown by these runs, the interval of rho includes 0."


def _scatter(axes: Axes, runs: Sequence[TrackedRun], metric: str, methods: Sequence[str]) -> None:
    real = task_of(runs).real_score
    for index, method in enumerate(methods):
        chosen = [run for run in runs if str(run.params.get("method.name")) == method]
        shape, colour = mark_of(index)
        energies = [run.metrics[metric] for run in chosen]
        accuracies = [100 * run.metrics[real] for run in chosen]
        axes.scatter(
            energies, accuracies, s=mark_area(11, len(runs)), marker=shape, c=colour, alpha=0.75, lw=0, label=method
        )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=SMALL_SIZE, frameon=False)
    set_legend_marks(legend)
