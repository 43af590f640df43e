"""Which selection protocol predicts real accuracy, and what choosing by it costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from analysis.inference.rank_correlation import INTERVAL_FROM, rank_correlation
from analysis.inference.regret import estimate_regret
from analysis.runs.comparable import keep_comparable, keep_distinct
from analysis.runs.metrics import Selector, find_measured_selectors, get_configuration, get_task, has_metrics
from analysis.runs.names import name_selector
from analysis.tables.table import MISSING, Entry, Table, arrange_cells
from csg.messages.wording import pluralize
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.training.selection import ASKS

WITHIN: Final = "csg"
"""The method within which selectors are compared too: a search chooses among settings of one method."""
HEADINGS: Final = (
    *("selected by", "looks at", "n", "rho", "tau-b", "chosen: score", "chosen: real %", "regret"),
    *("n, CSG", "rho, CSG", "regret, CSG"),
)


def make_protocol_table(runs: Iterable[TrackedRun], *, mix: Collection[str] = ()) -> Table:
    """Compare selectors by the rank correlation of their score with the real one, over the runs of one version."""
    compared = keep_comparable(keep_distinct(runs), mix=mix)
    task = get_task(compared.runs)
    count = pluralize(len(compared.runs), "distinct finished run")
    configurations = pluralize(len(set(map(get_configuration, compared.runs))), "configuration")
    caption = (
        f"Over {count} of all methods and seeds ({configurations}), and over those of CSG alone. Selected by: "
        f"{task.score_words} on the protocol's stream, or under unlabelled a validator's score. Rho: Spearman's rank "
        f"correlation of score and real {task.score_words} on target/test; tau-b: Kendall's. Chosen: the run that the "
        "selector would choose; regret: what the best run that has its score has more, in points. Intervals are 95 % "
        f"bootstrap intervals over configurations, whose seeds are drawn together, from {INTERVAL_FROM} on; that of a "
        f"regret covers less than it says, since no sample has a better run than the best one seen.{compared.note}"
    )
    selectors = find_measured_selectors(task, compared.runs)
    rows = {name_selector(name): _make_entries(selector, compared.runs, task) for name, selector in selectors.items()}
    return Table("selection_protocols", "Selection protocols", arrange_cells(HEADINGS, rows), caption)


def _make_entries(selector: Selector, runs: Sequence[TrackedRun], task: Task) -> list[Entry]:
    asks = ASKS[selector.protocol]
    looks = Entry(selector.stream if asks != "images" else f"{selector.stream}, no labels")
    scored = [run for run in runs if has_metrics(run, selector.metric)]
    within = [run for run in scored if run.params.get("method.name") == WITHIN]
    count, rho, tau, score, chosen, regret = _compare(selector, scored, task)
    return [looks, count, rho, tau, score, chosen, regret, *(_compare(selector, within, task)[i] for i in (0, 1, 5))]


def _compare(selector: Selector, runs: Sequence[TrackedRun], task: Task) -> list[Entry]:
    """Return n, rho, tau-b, the score chosen, the real score chosen, and its regret."""
    if not runs:
        return [Entry("0"), *[Entry(MISSING)] * 5]
    scores = {run.run_id: run.metrics[selector.metric] for run in runs}
    real = {run.run_id: run.metrics[task.real_score] for run in runs}
    groups = [get_configuration(run) for run in runs]
    found = rank_correlation(list(scores.values()), list(real.values()), groups=groups)
    rho = MISSING if found.rho is None else f"{found.rho:.2f}"
    if found.rho is not None and found.shown_interval is not None:
        rho += f" [{found.shown_interval.low:.2f}, {found.shown_interval.high:.2f}]"
    chosen = max(scores, key=lambda run_id: scores[run_id])
    outcomes = [100 * value for value in real.values()]
    lost, interval = estimate_regret(list(scores.values()), outcomes, groups=groups)
    regret = f"{lost:.1f}"
    if len(set(groups)) >= INTERVAL_FROM:
        regret += f" [{interval.low:.1f}, {interval.high:.1f}]"
    return [
        Entry(str(len(runs))),
        Entry(rho, "", selector.metric, scores),
        Entry(MISSING if found.tau is None else f"{found.tau:.2f}", "", selector.metric, scores),
        Entry(selector.unit.format_whole(scores[chosen]), "", selector.metric, {chosen: scores[chosen]}),
        Entry(f"{100 * real[chosen]:.1f}", "", task.real_score, {chosen: real[chosen]}),
        Entry(regret, "", task.real_score, real),
    ]
