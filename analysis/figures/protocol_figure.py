"""Which selection protocol predicts real accuracy best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.diversity_accuracy import correlated, rho_text
from analysis.figures.figure_style import (
    BLUE,
    GREY,
    SMALL_SIZE,
    TEXT_SIZE,
    RunFigure,
    broken_lines,
    mark_area,
    new_panels,
    set_caption,
)
from analysis.runs.comparable import NoDataError, comparable
from analysis.runs.task_figures import task_of
from analysis.statistics.bootstrap import RESAMPLES, Floats, Ints, percentiles, resampled
from analysis.statistics.inference import Interval
from analysis.statistics.trial_inference import RankCorrelation, weighted_rho
from analysis.tables.protocol_table import INTERVAL_FROM, PROTOCOLS, distinct_finished, protocol_metric
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun
from csg.training.evaluation import PROTOCOL_STREAMS


def protocol_figure(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> RunFigure:
    """Draw each protocol's score against the real one over the distinct finished runs, and the rank correlations.

    Args:
        runs: of one experiment, the oldest first; see :func:`~analysis.runs.comparable.comparable`.
        mix: in what the runs may differ.

    Raises:
        NoDataError: fewer than 3 runs have the scores of any protocol.
    """
    chosen = comparable(distinct_finished(runs), mix=mix)
    task = task_of(chosen.runs)
    scored = {protocol: _scored(chosen.runs, protocol) for protocol in PROTOCOLS}
    if max(map(len, scored.values())) < 3:
        raise NoDataError(f"fewer than 3 comparable finished runs have the score of a protocol.{chosen.remedy}")
    found = {protocol: correlated(drawn, protocol_metric(protocol, task)) for protocol, drawn in scored.items()}
    figure, panels = new_panels(2, len(PROTOCOLS), height=3.95)
    for axes, (protocol, drawn) in zip(panels[: len(PROTOCOLS)], scored.items(), strict=True):
        _scatter(axes, protocol, drawn, found[protocol])
    panels[0].set_ylabel(broken_lines(f"real {task.score_words} (%)", 16), fontsize=TEXT_SIZE)
    grid = panels[-1].get_gridspec()
    for axes in panels[len(PROTOCOLS) :]:
        axes.remove()
    assert grid is not None
    _forest(figure.add_subplot(grid[1, :]), found, task.score_words)
    caption = (
        f"Above: {pluralize(len(chosen.runs), 'distinct finished run')}, score: {task.score_words} on the protocol's "
        "stream. "
        f"Below: Spearman's rho of score and real {task.score_words} on target/test, 95 % bootstrap intervals (from "
        f"{INTERVAL_FROM} runs on). {best_protocol(scored, found)}{chosen.note}"
    )
    set_caption(figure, caption)
    figure.runs = chosen.runs
    return figure


def _scored(runs: Sequence[TrackedRun], protocol: str) -> list[TrackedRun]:
    metric = protocol_metric(protocol, task_of(runs))
    return [run for run in runs if math.isfinite(run.metrics.get(metric, math.nan))]


def best_protocol(scored: Mapping[str, Sequence[TrackedRun]], found: Mapping[str, RankCorrelation]) -> str:
    """Say which protocol has the largest rho, and of the others whether its lead can be told from none.

    Args:
        scored: the runs that have the protocol's score.
        found: their rank correlation.
    """
    rhos = {protocol: each.rho for protocol, each in found.items() if each.rho is not None}
    if not rhos:
        return "No protocol has a rank correlation."
    best = max(rhos, key=lambda protocol: rhos[protocol])
    said = []
    for other in rhos:
        having = {run.run_id for run in scored[other]}
        both = [run for run in scored[best] if run.run_id in having]
        if other == best or len(both) < INTERVAL_FROM:
            continue
        task = task_of(both)
        first, second = ([run.metrics[protocol_metric(protocol, task)] for run in both] for protocol in (best, other))
        lead, interval = rho_lead(first, second, [run.metrics[task.real_score] for run in both])
        told = "" if interval.low > 0 else ", not distinguishable"
        said.append(f"{other} {lead:.2f} [{interval.low:.2f}, {interval.high:.2f}]{told}")
    if not said:
        return f"Largest rho: {best}; too few runs to say by how much."
    return f"Largest rho: {best}. Its lead (the same runs drawn for both) over {'; over '.join(said)}."


def rho_lead(
    first: Sequence[float],
    second: Sequence[float],
    outcomes: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, Interval]:
    """Return by how much Spearman's rho of ``first`` and ``outcomes`` exceeds that of ``second``, with its interval.

    All three are (n,), of the same runs, which the percentile bootstrap draws together: two scores of the same runs are
    far from independent. Resamples in which a rho is undefined (all values equal) are left out.

    Raises:
        ValueError: a rho is undefined on the runs themselves.
    """
    one, other, outcome = (np.asarray(each, dtype=np.float64) for each in (first, second, outcomes))

    def lead(counts: Ints) -> Floats:
        return weighted_rho(counts, one, outcome) - weighted_rho(counts, other, outcome)

    n = len(one)
    seen = float(lead(np.ones((1, n), dtype=np.int64))[0, 0])
    if not math.isfinite(seen):
        raise ValueError(
            "Expected scores and outcomes that differ, found all values equal: there is no rank to compare."
        )
    draws = resampled(n, resamples, seed, lead)[:, 0]
    return seen, percentiles(draws[np.isfinite(draws)], 0.95)


def _scatter(axes: Axes, protocol: str, runs: Sequence[TrackedRun], found: RankCorrelation) -> None:
    task = task_of(runs)
    scores = [100 * run.metrics[protocol_metric(protocol, task)] for run in runs]
    axes.scatter(
        scores, [100 * run.metrics[task.real_score] for run in runs], s=mark_area(8, len(runs)), c=BLUE, alpha=0.6, lw=0
    )
    axes.set_title(f"{protocol}\n{rho_text(found)}", fontsize=SMALL_SIZE)
    axes.set_xlabel(f"{PROTOCOL_STREAMS[protocol]} (%)", fontsize=SMALL_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def _forest(axes: Axes, found: Mapping[str, RankCorrelation], words: str) -> None:
    """Draw a line a protocol: rho as a dot, its interval as a bar."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.axvline(0, color=GREY, lw=0.6, zorder=1)
    for place, each in enumerate(found.values()):
        if each.rho is not None:
            axes.plot([each.rho], [place], marker="o", ms=4, color=BLUE, zorder=3)
            if each.rho_interval is not None and each.n >= INTERVAL_FROM:
                axes.plot([each.rho_interval.low, each.rho_interval.high], [place, place], color=BLUE, lw=1.2)
    axes.set_yticks(range(len(found)), list(found), fontsize=TEXT_SIZE)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(-1.02, 1.02)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"], fontsize=TEXT_SIZE)
    axes.set_xlabel(f"rank correlation rho with real {words}", fontsize=TEXT_SIZE)
