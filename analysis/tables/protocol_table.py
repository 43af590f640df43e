"""Which selection protocol predicts real accuracy, and what choosing by it costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from analysis.inference.rank_correlation import INTERVAL_FROM, rank_correlation
from analysis.runs.comparable import keep_comparable, keep_distinct
from analysis.runs.metrics import get_task, has_metrics, name_protocol_metric
from analysis.tables.table import MISSING, Entry, Table, arrange_cells
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun
from csg.training.evaluation import PROTOCOL_STREAMS, PROTOCOLS

HEADINGS = ("protocol", "stream", "n", "rho", "tau-b", "chosen: score %", "chosen: real %", "regret", "asks the target")


def make_protocol_table(runs: Iterable[TrackedRun], *, mix: Collection[str] = ()) -> Table:
    """Compare protocols by the rank correlation of their score with the real one, over the runs of one version."""
    compared = keep_comparable(keep_distinct(runs), mix=mix)
    task = get_task(compared.runs)
    count = pluralize(len(compared.runs), "distinct finished run")
    caption = (
        f"Over {count} of all methods and seeds. Score: {task.score_words} on the "
        f"protocol's stream; rho: Spearman's rank correlation of score and real {task.score_words} on target/test, its "
        f"95 % bootstrap interval from {INTERVAL_FROM} runs on; tau-b: Kendall's. Chosen: the run that the protocol "
        f"would choose; regret: what the best run has more.{compared.note}"
    )
    rows = {protocol: _make_entries(protocol, compared.runs) for protocol in PROTOCOLS}
    return Table("selection_protocols", "Selection protocols", arrange_cells(HEADINGS, rows), caption)


def _make_entries(protocol: str, runs: Sequence[TrackedRun]) -> list[Entry]:
    task = get_task(runs)
    metric, stream = name_protocol_metric(protocol, task), PROTOCOL_STREAMS[protocol]
    scored = {run.run_id: run for run in runs if has_metrics(run, metric)}
    asks = Entry("yes" if stream.startswith("target/") else "no")
    if not scored:
        return [Entry(stream), Entry("0"), *[Entry(MISSING)] * 5, asks]
    scores = {run_id: run.metrics[metric] for run_id, run in scored.items()}
    real = {run_id: run.metrics[task.real_score] for run_id, run in scored.items()}
    found = rank_correlation(list(scores.values()), list(real.values()))
    rho = MISSING if found.rho is None else f"{found.rho:.2f}"
    if found.rho is not None and found.shown_interval is not None:
        rho += f" [{found.shown_interval.low:.2f}, {found.shown_interval.high:.2f}]"
    chosen = max(scores, key=lambda run_id: scores[run_id])
    return [
        Entry(stream),
        Entry(str(len(scored))),
        Entry(rho, "", metric, scores),
        Entry(MISSING if found.tau is None else f"{found.tau:.2f}", "", metric, scores),
        Entry(f"{100 * scores[chosen]:.1f}", "", metric, {chosen: scores[chosen]}),
        Entry(f"{100 * real[chosen]:.1f}", "", task.real_score, {chosen: real[chosen]}),
        Entry(f"{100 * (max(real.values()) - real[chosen]):.1f}", "", task.real_score, real),
        asks,
    ]
