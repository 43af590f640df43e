"""One row a search: what it tried, what it chose, and what that is worth on real images."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.runs.metrics import format_real_interval, get_task, is_mean
from analysis.runs.newest import make_unique_key
from analysis.runs.run_table import SearchRuns
from analysis.runs.trials import rank_trials
from analysis.tables.table import MISSING, Entry, Table, arrange_cells
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit
from csg.training.selection import ASKS, SELECTION_SCORE

HEADINGS = ("search", "protocol", "trials", "finished", "stopped", "failed", "target queries", "chosen", "its score")


def make_search_summary(searches: Sequence[SearchRuns]) -> Table:
    """Tabulate searches, the oldest first.

    The chosen trial is the finished one with the best selection score. Source only lies outside the search space and
    cannot be chosen.
    """
    task = get_task(run for search in searches for run in search.runs)
    headings = (*HEADINGS, f"real {task.headline_words} %", "source only %", "gain")
    rows = {make_unique_key(search, searches): _make_entries(search, task) for search in searches}
    chosen = "Chosen: the finished trial with the best score under the search's own protocol"
    cells = arrange_cells(headings, rows)
    finished = [run for search in searches for run in search.runs if run.status == "finished"]
    if finished and not any(task.real_headline in run.metrics for run in finished):
        cells = cells.drop(columns=list(headings[len(HEADINGS) :]))
        return Table("search_summary", "Searches", cells, f"{chosen}. The data have no target/test.")
    has_intervals = task.one_label and not all(map(is_mean, finished))
    caption = (
        f"{chosen}; its real "
        f"{task.headline_words}, on target/test, was measured once and seen by no search"
        f"{', with its 95 % Wilson interval over images' if has_intervals else ''}. Gain: to "
        "source only, the search's first trial, in points; one seed each, saying nothing of the spread."
    )
    if any(map(is_mean, finished)):
        caption += " Under held_out_source a trial's figures are means over its trainings without each source."
    return Table("search_summary", "Searches", cells, caption)


def _make_entries(search: SearchRuns, task: Task) -> list[Entry]:
    counts = [sum(run.status == status for run in search.runs) for status in ("finished", "stopped", "failed")]
    queries = search.parent.metrics.get("target_queries")
    texts = [
        search.protocol,
        str(len(search.runs)),
        *map(str, counts),
        MISSING if queries is None else _describe_queries(int(queries), search.protocol),
    ]
    entries = [Entry(text) for text in texts]
    chosen = next(iter(rank_trials(search.runs)), None)
    if chosen is None:
        return [*entries, *[Entry(MISSING)] * 5]
    score = chosen.metrics[SELECTION_SCORE]
    written = Unit.of(search.score).format_whole(score)
    entries += [Entry(chosen.name), Entry(written, "", SELECTION_SCORE, {chosen.run_id: score})]
    entries.append(_make_real_entry(chosen, task))
    finished = [run for run in search.runs if run.status == "finished"]
    source_only = next((run for run in finished if run.tags.get(Tag.ROLE) == "source_only"), None)
    metric = task.real_headline
    if source_only is None or metric not in source_only.metrics or metric not in chosen.metrics:
        return [*entries, Entry(MISSING), Entry(MISSING)]
    gain = chosen.metrics[metric] - source_only.metrics[metric]
    both = {run.run_id: run.metrics[metric] for run in (chosen, source_only)}
    return [*entries, _make_real_entry(source_only, task), Entry(f"{100 * gain:+.1f}", "", metric, both)]


def _describe_queries(queries: int, protocol: str) -> str:
    labels = {"images": " (no labels)", "labels": " (labels)"}.get(ASKS.get(protocol, "nothing"), "")
    return f"{queries}{labels if queries else ''}"


def _make_real_entry(run: TrackedRun, task: Task) -> Entry:
    metric = task.real_headline
    if metric not in run.metrics:
        return Entry(MISSING)
    share = run.metrics[metric]
    interval = format_real_interval(run, share) if task.one_label else ""
    return Entry(f"{100 * share:.1f}{interval}", "", metric, {run.run_id: share})
