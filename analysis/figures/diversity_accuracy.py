"""Hyperspherical energy against real accuracy: whether the paper's thesis, more diverse is more accurate, holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.inference.rank_correlation import INTERVAL_FROM, RankCorrelation, rank_correlation
from analysis.runs.comparable import NoDataError, keep_comparable, keep_distinct
from analysis.runs.metrics import E0_METRIC, get_task, has_metrics
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun

ENERGIES: Final = {"E_0 (mhe)": E0_METRIC, "E_1": "target/test/E1", "E_2": "target/test/E2"}
LITERAL: Final = "E_0 in the convention mhe, log(1/d²); the literal log(1/d) is half of it and ranks alike."


def draw_diversity_accuracy(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> style.RunFigure:
    """Draw every distinct finished run's energies against its real score, with rank correlations.

    Args:
        runs: of one experiment, the oldest first; see :func:`~analysis.runs.comparable.keep_comparable`.
        mix: in what the runs may differ.

    Raises:
        NoDataError: fewer than 3 such runs.
    """
    chosen = keep_comparable(keep_distinct(runs), mix=mix)
    if len(chosen.runs) < 3:
        raise NoDataError(
            f"{pluralize(len(chosen.runs), 'comparable finished run')}, and a rank correlation needs 3.{chosen.remedy}"
        )
    task = get_task(chosen.runs)
    methods = sorted({str(run.params.get("method.name")) for run in chosen.runs})
    figure, panels = style.make_panels(1, len(ENERGIES), height=2.75 + 0.13 * math.ceil(len(methods) / 3))
    found = {}
    for axes, (name, metric) in zip(panels, ENERGIES.items(), strict=True):
        drawn = [run for run in chosen.runs if has_metrics(run, metric)]
        found[name] = correlate_with_real(drawn, metric)
        _draw_runs(axes, drawn, metric, methods)
        axes.set_title(format_rho(found[name]))
        axes.set_xlabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    panels[0].set_ylabel(f"real {task.score_words} (%)")
    legend = figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    style.set_legend_marks(legend)
    data = "" if "data" in mix else ", on one data fingerprint"
    caption = (
        f"{len(chosen.runs):,} distinct finished runs of all settings and seeds{data}. Above: "
        f"Spearman's rho and its 95 % bootstrap interval (from {INTERVAL_FROM} runs on); it takes runs as independent, "
        f"which seeds of one setting are not. {LITERAL} "
        f"{judge_thesis(found['E_0 (mhe)'], task.score_words)}{chosen.note}"
    )
    style.set_caption(figure, caption)
    figure.runs = chosen.runs
    return figure


def correlate_with_real(runs: Sequence[TrackedRun], metric: str) -> RankCorrelation:
    """Correlate a metric with the real score over runs that have both."""
    real = get_task(runs).real_score
    return rank_correlation([run.metrics[metric] for run in runs], [run.metrics[real] for run in runs])


def format_rho(found: RankCorrelation) -> str:
    """Write rho and n on one line, and the interval, if there are enough points for it, on a second."""
    if found.rho is None:
        return f"rho -\nn = {found.n:,}"
    interval = found.shown_interval
    limits = "" if interval is None else f"[{interval.low:.2f}, {interval.high:.2f}]"
    return f"rho = {found.rho:.2f}, n = {found.n:,}\n{limits}"


def judge_thesis(found: RankCorrelation, score: str = "mean class accuracy") -> str:
    """Return a sentence on whether energy falls as the real score rises.

    Args:
        found: the rank correlation of energy and score.
        score: the name of the score.
    """
    thesis = "More diverse (lower E_0) is more accurate"
    if score != "mean class accuracy":
        thesis = f"More diverse (lower E_0) has more {score}"
    if found.rho is None:
        return f"{thesis}: no answer, {found.reason}."
    if found.shown_interval is None:
        return f"{thesis}: not to be judged from {found.n} runs (p = {found.rho_p:.2g})."
    if found.shown_interval.high < 0:
        return f"{thesis}: holds over these runs, the interval of rho lies below 0."
    if found.shown_interval.low > 0:
        return f"{thesis}: the reverse holds over these runs, the interval of rho lies above 0."
    return f"{thesis}: not shown by these runs, the interval of rho includes 0."


def _draw_runs(axes: Axes, runs: Sequence[TrackedRun], metric: str, methods: Sequence[str]) -> None:
    real = get_task(runs).real_score
    for index, method in enumerate(methods):
        chosen = [run for run in runs if str(run.params.get("method.name")) == method]
        shape, colour = style.choose_mark(index)
        area = style.scale_mark(11, len(runs))
        at = [run.metrics[metric] for run in chosen], [100 * run.metrics[real] for run in chosen]
        axes.scatter(*at, s=area, marker=shape, c=colour, alpha=0.75, lw=0, label=method)
