"""Hyperspherical energy against real accuracy: whether the paper's thesis, more diverse is more accurate, holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.inference.rank_correlation import INTERVAL_FROM, RankCorrelation, rank_correlation
from analysis.runs.comparable import NoDataError, keep_comparable, keep_distinct
from analysis.runs.metrics import E0_METRIC, get_configuration, get_task, has_metrics
from analysis.runs.names import name_method
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun

ENERGIES: Final = {"E_0 (mhe)": E0_METRIC, "E_1": "target/test/E1", "E_2": "target/test/E2"}
FEWEST: Final = 3
"""Runs of one encoder from which on there is a rank correlation."""
LITERAL: Final = "E_0 in the convention mhe, log(1/d²); the literal log(1/d) is half of it and ranks alike."


def draw_diversity_accuracy(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> style.RunFigure:
    """Draw every distinct finished run's energies against its real score, with rank correlations.

    Each encoder has a row of its own, because energies of features of different encoders cannot be compared.

    Args:
        runs: of one experiment, the oldest first; see :func:`~analysis.runs.comparable.keep_comparable`.
        mix: in what the runs may differ.

    Raises:
        NoDataError: no encoder has 3 such runs.
    """
    chosen = keep_comparable(keep_distinct(runs), mix=mix)
    rows = {encoder: among for encoder, among in _divide_by_encoder(chosen.runs).items() if len(among) >= FEWEST}
    drawn = [run for among in rows.values() for run in among]
    if not rows:
        raise NoDataError(
            f"{pluralize(len(chosen.runs), 'comparable finished run')}, and a rank correlation needs {FEWEST} of one "
            f"encoder.{chosen.remedy}"
        )
    words = get_task(drawn).score_words
    methods = sorted({str(run.params.get("method.name")) for run in drawn})
    height = 0.35 + 0.13 * math.ceil(len(methods) / 3) + 1.6 * len(rows)
    figure, panels = style.make_panels(len(rows), len(ENERGIES), height=height, share_y="row")
    sentences = []
    for (encoder, among), place in zip(rows.items(), range(0, len(panels), len(ENERGIES)), strict=True):
        for axes, (name, metric) in zip(panels[place:], ENERGIES.items(), strict=False):
            having = [run for run in among if has_metrics(run, metric)]
            found = correlate_with_real(having, metric)
            _draw_runs(axes, having, metric, methods)
            axes.set_title(format_rho(found))
            axes.set_xlabel(name)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            if metric == E0_METRIC:
                sentences.append((f"{encoder}: " if len(rows) > 1 else "") + judge_thesis(found, words))
        label = f"real {words} (%)"
        panels[place].set_ylabel(f"{encoder}\n{label}" if len(rows) > 1 else label)
    legend = figure.legend(*_collect_legend(panels), loc="outside upper center", ncols=3)
    style.set_legend_marks(legend)
    data = "" if "data" in mix else ", on one data fingerprint"
    lone = len(chosen.runs) - len(drawn)
    sentences += [f"{pluralize(lone, 'run')} of encoders with fewer than {FEWEST} left out."] if lone else []
    caption = (
        f"{len(drawn):,} distinct finished runs of all settings and seeds{data}. Above: "
        f"Spearman's rho and its 95 % bootstrap interval over configurations, whose seeds are drawn together (from "
        f"{INTERVAL_FROM} on). {LITERAL} {' '.join(sentences)}{chosen.note}"
    )
    style.set_caption(figure, caption)
    figure.runs = drawn
    return figure


def _divide_by_encoder(runs: Sequence[TrackedRun]) -> dict[str, list[TrackedRun]]:
    """Return the runs of each encoder, that with the most first."""
    found: dict[str, list[TrackedRun]] = {}
    for run in runs:
        found.setdefault(str(run.params.get("model.name", "")), []).append(run)
    return dict(sorted(found.items(), key=lambda each: -len(each[1])))


def _collect_legend(panels: Sequence[Axes]) -> tuple[list[Artist], list[str]]:
    """Return the marks of all panels and their names, each once."""
    found = {name: mark for axes in panels for mark, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    return list(found.values()), list(found)


def correlate_with_real(runs: Sequence[TrackedRun], metric: str) -> RankCorrelation:
    """Correlate a metric with the real score over runs that have both."""
    real = get_task(runs).real_score
    values, outcomes = ([run.metrics[name] for run in runs] for name in (metric, real))
    return rank_correlation(values, outcomes, groups=[get_configuration(run) for run in runs])


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
    thesis = f"more diverse features (lower E_0) have a higher {score}"
    if found.rho is None:
        return f"Whether {thesis} cannot be said: {found.reason}."
    if found.shown_interval is None:
        few = f"{pluralize(found.n, 'run')} of {pluralize(found.groups, 'configuration')} are too few"
        return f"{few} to say whether {thesis} (p = {found.rho_p:.2g} if all were independent)."
    if found.shown_interval.high < 0:
        return f"Over these runs {thesis}: the interval of rho lies below 0."
    if found.shown_interval.low > 0:
        return f"Over these runs {thesis.replace('higher', 'lower')}: the interval of rho lies above 0."
    return f"These runs do not show that {thesis}: the interval of rho includes 0."


def _draw_runs(axes: Axes, runs: Sequence[TrackedRun], metric: str, methods: Sequence[str]) -> None:
    real = get_task(runs).real_score
    for index, method in enumerate(methods):
        chosen = [run for run in runs if str(run.params.get("method.name")) == method]
        shape, colour = style.choose_mark(index)
        area = style.scale_mark(11, len(runs))
        at = [run.metrics[metric] for run in chosen], [100 * run.metrics[real] for run in chosen]
        axes.scatter(*at, s=area, marker=shape, c=colour, alpha=0.75, lw=0, label=name_method(method))
