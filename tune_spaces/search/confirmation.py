"""A search's best trials again, under seeds that the search has not seen: how much of their scores remains."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.text import Text

from analysis.runs.newest import CONFIRMATION
from analysis.runs.trials import rank_trials
from analysis.tables.cell_table import format_mean
from analysis.tables.table import MISSING, Entry, Table, arrange_cells, write_tables
from csg.data.pair import TARGET_TEST
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_printable
from csg.messages.wording import pluralize
from csg.parsing import config_from_flat
from csg.tasks import find_task
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.evaluation import SELECTION_SCORE
from tune_spaces.ablation.ablation import Ablation, run_ablation
from tune_spaces.ablation.script import check_no_run_failed, make_cell_runs
from tune_spaces.designs.design import Cell, Design
from tune_spaces.execution.driver import Outcome
from tune_spaces.search.plan import Search


def confirm(search: Search, outcome: Outcome, console: Console) -> bool:
    """Train the best trials of a finished search under fresh seeds, and print how they score.

    Returns:
        Whether every run ended; otherwise it was interrupted.

    Raises:
        UserError: no trial of the space has finished, or see :func:`tune_spaces.ablation.ablation.run_ablation`.
        RunsFailedError: some of them failed.
    """
    seeds = search.options.seeds
    best = rank_trials(outcome.tracker.read_children(outcome.parent))[: search.options.confirm_top]
    if not best:
        raise UserError("--confirm-top: no trial of the space has finished, so there is nothing to confirm")
    cells = tuple(Cell(run.name, {n: run.params[n] for n in search.space.names if n in run.params}) for run in best)
    first = search.config.train.seed + 1
    design = Design(title=f"Winners of {search.name} under fresh seeds", cells=cells, base=cells[0].name)
    fresh = config_from_flat({**search.base, "train.seed": first})
    ablation = Ablation(
        name=f"{CONFIRMATION}{search.name}",
        design=design,
        runs=make_cell_runs(design, fresh, seeds, console),
        tracking_uri=search.tracking_uri,
        experiment=search.experiment,
        concurrency=search.options.concurrency,
    )
    heading = Text(f"\n{make_printable(design.title)}", style="bold")
    size = f"{pluralize(len(cells), 'trial')} x {pluralize(seeds, 'seed')}, from seed {first}"
    console.print(heading, f": {size}", sep="")
    confirmed = run_ablation(ablation, console)
    runs = confirmed.tracker.read_children(confirmed.parent)
    table = make_confirmation_table(search, best, runs)
    for path in write_tables([table], [*best, *runs], ablation.folder):
        confirmed.tracker.log_artifact(confirmed.parent, path)
        confirmed.tracker.log_artifact(outcome.parent, path)
    console.print(table.to_rich())
    console.print(table.caption)
    if confirmed.ending != "complete":
        console.print(f"The confirmation {confirmed.reason}. The same command goes on with it.")
        return False
    check_no_run_failed(ablation)
    return True


def make_confirmation_table(search: Search, best: Sequence[TrackedRun], runs: Sequence[TrackedRun]) -> Table:
    """Tabulate each winner's score in the search beside its scores under fresh seeds."""
    task = find_task(search.config.data)
    metric = f"{TARGET_TEST}/{task.headline}"
    is_measured = all(metric in run.metrics for run in best)
    rows: dict[str, tuple[Entry, ...]] = {}
    for winner in best:
        again = [run for run in runs if run.tags.get(Tag.CELL) == winner.name and run.status == "finished"]
        scores = {run.run_id: run.metrics[SELECTION_SCORE] for run in again}
        real = {run.run_id: run.metrics[metric] for run in again if is_measured}
        searched = winner.metrics[SELECTION_SCORE]
        change = 100 * (statistics.fmean(scores.values()) - searched) if scores else None
        rows[winner.name] = (
            Entry(str(len(again))),
            Entry(f"{100 * searched:.1f}", "", SELECTION_SCORE, {winner.run_id: searched}),
            Entry(format_mean([100 * score for score in scores.values()], 1), "", SELECTION_SCORE, scores),
            Entry(MISSING if change is None else f"{change:+.1f}", "", SELECTION_SCORE, scores),
        )
        if is_measured:
            rows[winner.name] += (
                Entry(f"{100 * winner.metrics[metric]:.1f}", "", metric, {winner.run_id: winner.metrics[metric]}),
                Entry(format_mean([100 * value for value in real.values()], 1), "", metric, real),
            )
    caption = (
        f"Score: {search.score_metric}. Searched: the trial's own, chosen for being high, so that it flatters; fresh: "
        "mean ± sample standard deviation over n seeds that the search has not seen. "
        f"{f'Real: {task.headline_words} on target/test' if is_measured else 'The data have no target/test'}."
    )
    headings = ["trial", "n", "searched %", "fresh %", "change"]
    headings += ["real, searched %", "real, fresh %"] if is_measured else []
    return Table("confirmation", f"What survives of {search.name}", arrange_cells(headings, rows), caption)
