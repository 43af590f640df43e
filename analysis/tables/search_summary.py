"""One line a search: what it tried, what it chose, and what that is worth on real images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scipy.stats import binomtest

from analysis.runs.newest import distinct_key
from analysis.runs.run_table import SearchRuns
from analysis.runs.task_figures import task_of
from analysis.tables.table import MISSING, Entry, Row, Table
from csg.data.pair import TARGET_TEST
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.tracking.tags import ROLE_TAG

SELECTION_SCORE = "selection/score"
"""A finished run's score, of the weights that were measured."""
COLUMNS = ("search", "protocol", "trials", "finished", "stopped", "failed", "target queries", "chosen", "its score %")


def search_summary(searches: Sequence[SearchRuns]) -> Table:
    """Tabulate searches, the oldest first.

    The chosen trial is the finished one with the best selection score; source only, which lies outside the space, is no
    candidate.
    """
    task = task_of(run for search in searches for run in search.runs)
    columns = (*COLUMNS, f"real {task.headline_words} %", "source only %", "gain")
    rows = tuple(
        Row(distinct_key(search, searches), tuple(_entries(search, task, len(columns) - 1))) for search in searches
    )
    caption = (
        "Chosen: the finished trial with the best score under the search's own protocol; its real "
        f"{task.headline_words}, on target/test, was measured once and seen by no search"
        f"{', with its 95 % Wilson interval over images' if task.one_label else ''}. Gain: to "
        "source only, the search's first trial, in points; one seed each, saying nothing of the spread."
    )
    return Table("search_summary", "Searches", columns, rows, caption)


def best_trials(runs: Iterable[TrackedRun]) -> list[TrackedRun]:
    """Return a search's finished trials of the space that have a selection score, the best first."""
    candidates = [
        run
        for run in runs
        if run.status == "finished"
        and run.tags.get(ROLE_TAG) != "source_only"
        and math.isfinite(run.metrics.get(SELECTION_SCORE, math.nan))
    ]
    return sorted(candidates, key=lambda run: -run.metrics[SELECTION_SCORE])


def wilson_text(run: TrackedRun, accuracy: float) -> str:
    """Write the 95 % Wilson interval of a finished run's accuracy, a share of the images of target/test, in %."""
    images = int(run.metrics[f"{TARGET_TEST}/images"])
    interval = binomtest(round(accuracy * images), images).proportion_ci(method="wilson")
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _entries(search: SearchRuns, task: Task, count: int) -> list[Entry]:
    counts = [sum(run.status == status for run in search.runs) for status in ("finished", "stopped", "failed")]
    queries = search.parent.metrics.get("target_queries")
    begun = [
        search.protocol,
        str(len(search.runs)),
        *map(str, counts),
        MISSING if queries is None else f"{queries:.0f}",
    ]
    chosen = next(iter(best_trials(search.runs)), None)
    source_only = next(
        (r for r in search.runs if r.tags.get(ROLE_TAG) == "source_only" and r.status == "finished"), None
    )
    entries = [Entry(text) for text in begun]
    if chosen is None:
        return [*entries, *(Entry(MISSING) for _ in range(count - len(entries)))]
    score = chosen.metrics[SELECTION_SCORE]
    entries.append(Entry(chosen.name))
    entries.append(Entry(f"{100 * score:.1f}", "", SELECTION_SCORE, {chosen.run_id: score}))
    entries.append(_real(chosen, task))
    metric = f"{TARGET_TEST}/{task.headline}"
    if source_only is None or metric not in source_only.metrics or metric not in chosen.metrics:
        return [*entries, Entry(MISSING), Entry(MISSING)]
    gain = chosen.metrics[metric] - source_only.metrics[metric]
    both = {run.run_id: run.metrics[metric] for run in (chosen, source_only)}
    return [*entries, _real(source_only, task), Entry(f"{100 * gain:+.1f}", "", metric, both)]


def _real(run: TrackedRun, task: Task) -> Entry:
    metric = f"{TARGET_TEST}/{task.headline}"
    if metric not in run.metrics:
        return Entry(MISSING)
    right = run.metrics[metric]
    text = f"{100 * right:.1f}"
    if task.one_label:
        text += f" {wilson_text(run, right)}"
    return Entry(text, "", metric, {run.run_id: right})
