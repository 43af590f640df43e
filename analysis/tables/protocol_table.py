"""Which selection protocol predicts real accuracy, and what choosing by it costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from analysis.runs.comparable import comparable
from analysis.runs.task_figures import task_of
from analysis.statistics.trial_inference import rank_correlation
from analysis.tables.table import MISSING, Entry, Row, Table
from csg.messages.wording import pluralize
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.tracking.tags import RUN_TAG
from csg.training.evaluation import PROTOCOL_STREAMS

PROTOCOLS: Final = ("source", "shifted", "oracle")
"""The protocols by which configurations may be chosen."""
INTERVAL_FROM: Final = 7
"""Runs from which on a rank correlation's interval covers what it says."""


def protocol_metric(protocol: str, task: Task) -> str:
    """Name the metric of a finished run's selected weights that a protocol selects by."""
    return f"selected/{PROTOCOL_STREAMS[protocol]}/{task.score}"


def distinct_finished(runs: Iterable[TrackedRun]) -> list[TrackedRun]:
    """Return finished runs with a real score, each computation once, however many searches share it."""
    found: dict[str, TrackedRun] = {}
    for run in runs:
        if run.status == "finished" and math.isfinite(run.metrics.get(task_of([run]).real_score, math.nan)):
            found.setdefault(run.tags.get(RUN_TAG, run.run_id), run)
    return list(found.values())


def protocol_table(runs: Iterable[TrackedRun], *, mix: Collection[str] = ()) -> Table:
    """Compare protocols over the distinct finished runs of one version: rank correlation with the real score."""
    everything = distinct_finished(runs)
    compared = comparable(everything, mix=mix)
    finished = compared.runs
    task = task_of(finished)
    real = {run.run_id: run.metrics[task.real_score] for run in finished}
    rows = tuple(Row(protocol, tuple(_entries(protocol, finished, real))) for protocol in PROTOCOLS)
    count = pluralize(len(finished), "distinct finished run")
    caption = (
        f"Over {count} of all methods and seeds. Score: {task.score_words} on the "
        f"protocol's stream; rho: Spearman's rank correlation of score and real {task.score_words} on target/test, its "
        f"95 % bootstrap interval from {INTERVAL_FROM} runs on; tau-b: Kendall's. Chosen: the run that the protocol "
        "would choose; regret: what the best run has more."
    )
    caption += compared.note
    return Table(
        "selection_protocols",
        "Selection protocols",
        ("protocol", "stream", "n", "rho", "tau-b", "chosen: score %", "chosen: real %", "regret", "asks the target"),
        rows,
        caption,
    )


def _entries(protocol: str, finished: Sequence[TrackedRun], real: dict[str, float]) -> list[Entry]:
    task = task_of(finished)
    metric, stream = protocol_metric(protocol, task), PROTOCOL_STREAMS[protocol]
    scored = [run for run in finished if math.isfinite(run.metrics.get(metric, math.nan))]
    scores = {run.run_id: run.metrics[metric] for run in scored}
    asks = Entry("yes" if stream.startswith("target/") else "no")
    if not scored:
        return [Entry(stream), Entry("0"), *(Entry(MISSING) for _ in range(5)), asks]
    found = rank_correlation(list(scores.values()), [real[run_id] for run_id in scores])
    chosen = max(scored, key=lambda run: scores[run.run_id])
    best = max(real[run_id] for run_id in scores)
    behind = {run_id: real[run_id] for run_id in scores}
    interval = found.rho_interval if len(scored) >= INTERVAL_FROM else None
    rho = MISSING if found.rho is None else f"{found.rho:.2f}"
    rho += "" if interval is None or found.rho is None else f" [{interval.low:.2f}, {interval.high:.2f}]"
    one = {chosen.run_id: real[chosen.run_id]}
    return [
        Entry(stream),
        Entry(str(len(scored))),
        Entry(rho, "", metric, scores),
        Entry(MISSING if found.tau is None else f"{found.tau:.2f}", "", metric, scores),
        Entry(f"{100 * scores[chosen.run_id]:.1f}", "", metric, {chosen.run_id: scores[chosen.run_id]}),
        Entry(f"{100 * real[chosen.run_id]:.1f}", "", task.real_score, one),
        Entry(f"{100 * (best - real[chosen.run_id]):.1f}", "", task.real_score, behind),
        asks,
    ]
