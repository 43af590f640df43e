"""Which selection protocol predicts real accuracy best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.diversity_accuracy import correlate_with_real, format_rho
from analysis.inference.rank_correlation import INTERVAL_FROM, RankCorrelation, rho_lead
from analysis.runs.comparable import NoDataError, keep_comparable, keep_distinct
from analysis.runs.metrics import (
    Selector,
    find_measured_selectors,
    get_configuration,
    get_task,
    has_metrics,
    make_selectors,
)
from analysis.runs.names import NO_LABELS, name_metric, name_selector
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun
from csg.training.selection import PROTOCOLS

WIDTH: Final = 1.1
"""Inches; what a panel's heading takes."""


def draw_protocols(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> style.RunFigure:
    """Draw each protocol's score against the real one over the distinct finished runs, and the rank correlations.

    Args:
        runs: of one experiment, the oldest first; see :func:`~analysis.runs.comparable.keep_comparable`.
        mix: in what the runs may differ.

    Raises:
        NoDataError: fewer than 3 runs have the scores of any protocol.
    """
    chosen = keep_comparable(keep_distinct(runs), mix=mix)
    task = get_task(chosen.runs)
    selectors = find_measured_selectors(task, chosen.runs)
    scored = {name: [run for run in chosen.runs if has_metrics(run, each.metric)] for name, each in selectors.items()}
    if max(map(len, scored.values())) < 3:
        raise NoDataError(f"fewer than 3 comparable finished runs have the score of a protocol.{chosen.remedy}")
    found = {name: correlate_with_real(drawn, selectors[name].metric) for name, drawn in scored.items()}
    above = {each.protocol: name for name, each in reversed(selectors.items())}  # of unlabelled its first validator
    names = [above[protocol] for protocol in PROTOCOLS if protocol in above]
    rows = {name: style.balance_lines(name_selector(name), 24) for name in found}
    height = 0.6 + 0.12 * len(rows) * (1 + max(row.count("\n") for row in rows.values()))
    figure, upper, lower = style.make_halves(1.75, height, width=max(style.COLUMN, WIDTH * len(names)))
    panels = list(upper.subplots(1, len(names), sharey=True, squeeze=False).flat)
    for axes, name in zip(panels, names, strict=True):
        _draw_runs(axes, selectors[name], scored[name], found[name])
    panels[0].set_ylabel(style.balance_lines(f"real {task.score_words} (%)", 16))
    _draw_correlations(lower.subplots(), found, rows, task.score_words)
    caption = (
        f"Above: {pluralize(len(chosen.runs), 'distinct finished run')}, score: {task.score_words} on the protocol's "
        "stream, or a validator's on its images. "
        f"Below: Spearman's rho of score and real {task.score_words} on target/test, 95 % bootstrap intervals over "
        f"configurations, whose seeds are drawn together (from {INTERVAL_FROM} on). "
        f"{describe_best_selector(scored, found)}{chosen.note}"
    )
    style.set_caption(figure, caption)
    figure.runs = chosen.runs
    return figure


def describe_best_selector(scored: Mapping[str, Sequence[TrackedRun]], found: Mapping[str, RankCorrelation]) -> str:
    """Return sentences on which selector that asks for no label has the largest rho, and whether it leads the others.

    Args:
        scored: the runs that have each selector's score.
        found: the rank correlation of each score with the real one.
    """
    rhos = {name: each.rho for name, each in found.items() if each.rho is not None and name != "oracle"}
    if not rhos:
        return "No score has a rank correlation."
    best = max(rhos, key=lambda name: rhos[name])
    leads: list[str] = []
    unsure: list[str] = []
    for other in rhos:
        having = {run.run_id for run in scored[other]}
        both = [run for run in scored[best] if run.run_id in having]
        groups = [get_configuration(run) for run in both]
        if other == best or len(set(groups)) < INTERVAL_FROM:
            continue
        task = get_task(both)
        metrics = [make_selectors(task)[name].metric for name in (best, other)]
        first, second, real = ([run.metrics[metric] for run in both] for metric in (*metrics, task.real_score))
        if min(map(len, map(set, (first, second, real)))) < 2:
            continue  # all equal on the runs that have both, so that there is no rank to compare
        lead, interval = rho_lead(first, second, real, groups=groups)
        said = f"over {_name_score(other)} {lead:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
        (leads if interval.low > 0 else unsure).append(said)
    if not leads and not unsure:
        return f"Largest rho without labels: {_name_score(best)}; too few configurations to say by how much."
    told = [", ".join(leads)] if leads else []
    told += ["not distinguishable " + ", ".join(unsure)] if unsure else []
    return (
        f"Largest rho without labels: {_name_score(best)}. Its lead (the same runs drawn for both; not corrected for "
        f"having been found the largest): {'; '.join(told)}."
    )


def _name_score(selector: str) -> str:
    """Name a score where the sentence says already that it asks for no label."""
    return name_selector(selector).removesuffix(NO_LABELS)


def _draw_runs(axes: Axes, selector: Selector, runs: Sequence[TrackedRun], found: RankCorrelation) -> None:
    task = get_task(runs)
    scores = [selector.unit.factor * run.metrics[selector.metric] for run in runs]
    real = [100 * run.metrics[task.real_score] for run in runs]
    axes.scatter(scores, real, s=style.scale_mark(8, len(runs)), c=style.BLUE, alpha=0.6, lw=0)
    axes.set_title(f"{selector.protocol}\n{format_rho(found)}")
    words = selector.unit.name_axis(name_metric(selector.metric.removeprefix("selected/")))
    axes.set_xlabel(style.balance_lines(words, 18), fontsize=style.SMALL_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def _draw_correlations(axes: Axes, found: Mapping[str, RankCorrelation], names: Mapping[str, str], words: str) -> None:
    """Draw a row for each protocol, with its name: rho as a dot, its interval as a bar."""
    axes.axvline(0, color=style.GREY, lw=0.6, zorder=1)
    for place, each in enumerate(found.values()):
        if each.rho is not None:
            axes.plot([each.rho], [place], marker="o", ms=4, color=style.BLUE, zorder=3)
            if each.shown_interval is not None:
                axes.plot([each.shown_interval.low, each.shown_interval.high], [place, place], color=style.BLUE, lw=1.2)
    axes.set_yticks(range(len(found)), [names[name] for name in found], fontsize=style.SMALL_SIZE)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(-1.02, 1.02)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
    axes.set_xlabel(f"rank correlation rho with real {words}", fontsize=style.SMALL_SIZE)
