"""A search's best trials, the default setting and source only under seeds that the search has not seen."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.text import Text

from analysis.runs.names import ROLE_NAMES
from analysis.runs.newest import CONFIRMATION
from analysis.runs.trials import rank_trials
from analysis.tables.cell_table import format_mean
from analysis.tables.table import MISSING, Entry, Table, arrange_cells, write_tables
from csg.commands.opening import check_starting_weights
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_printable
from csg.messages.wording import pluralize
from csg.parsing import build_config
from csg.tasks import find_task
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit
from csg.training.selection import SELECTION_SCORE
from tune_spaces.ablation.ablation import Ablation, run_ablation
from tune_spaces.ablation.held_out import plan_parts
from tune_spaces.ablation.script import check_no_run_failed, make_cell_runs, make_view
from tune_spaces.designs.design import Cell, Design
from tune_spaces.execution.driver import Outcome
from tune_spaces.execution.trial import get_epochs
from tune_spaces.search.plan import Search
from tune_spaces.search.verdict import Confirmed, make_verdict

SOURCE_ONLY, DEFAULT = ROLE_NAMES["source_only"], ROLE_NAMES["default"]


def confirm(search: Search, outcome: Outcome, console: Console) -> bool:
    """Train the best trials of a finished search and its references under fresh seeds, and print what came of it.

    Returns:
        Whether every run ended; otherwise it was interrupted.

    Raises:
        UserError: no trial of the space has finished, or see :func:`tune_spaces.ablation.ablation.run_ablation`.
        RunsFailedError: some of them failed.
    """
    seeds = search.options.seeds
    trials = outcome.tracker.read_children(outcome.parent)
    best: dict[str, TrackedRun] = {}
    for run in rank_trials(trials):
        best.setdefault(run.tags[Tag.CONFIG_ID], run)  # the sampler may suggest a configuration twice
    winners = list(best.values())[: search.confirmed]
    if not winners:
        if search.options.confirm_top is None:
            return True  # nobody asked, and what failed is said anyway
        raise UserError("--confirm-top: no trial of the space has finished, so there is nothing to confirm")
    design = make_design(search, winners)
    first = search.config.train.seed + 1
    fresh = build_config({**search.base, "train.seed": first, "train.threads": search.fresh_threads})
    ablation = Ablation(
        name=f"{CONFIRMATION}{search.name}",
        design=design,
        runs=make_cell_runs(design, fresh, seeds, console),
        tracking_uri=search.tracking_uri,
        experiment=search.experiment,
        concurrency=search.options.concurrency,
    )
    heading = Text(f"\n{make_printable(design.title)}", style="bold")
    size = f"{pluralize(len(design.cells), 'configuration')} x {pluralize(seeds, 'seed')}, from seed {first}"
    console.print(heading, f": {size}", sep="")
    for cell_run in ablation.runs:
        if cell_run.config.train.seed == first and cell_run.run().record.status != "finished":
            check_starting_weights(cell_run.config, console, left="")
    parts = plan_parts(ablation)
    for each in parts:
        before = run_ablation(each, console)
        if before.ending != "complete":
            console.print(f"The confirmation {before.reason}. The same command goes on with it.")
            return False
    confirmed = run_ablation(ablation, console)
    runs = confirmed.tracker.read_children(confirmed.parent)
    searched = {name_cell(search, run): run for run in winners} | {
        ROLE_NAMES[role]: run for run in trials if (role := run.tags.get(Tag.ROLE, "")) in ROLE_NAMES
    }
    table = make_confirmation_table(search, design, searched, runs)
    for path in write_tables([table], [*searched.values(), *runs], ablation.folder):
        confirmed.tracker.log_artifact(confirmed.parent, path)
        confirmed.tracker.log_artifact(outcome.parent, path)
    console.print(table.to_rich())
    console.print(table.caption)
    if confirmed.ending != "complete":
        console.print(f"The confirmation {confirmed.reason}. The same command goes on with it.")
        return False
    confirmed.tracker.share_view(make_view(ablation, confirmed.parent, runs), ablation.study.description)
    verdict = find_verdict(search, winners[0], runs)
    if verdict:
        outcome.tracker.share_view(search.make_view(outcome.parent, trials), search.study.description, verdict)
        outcome.tracker.set_tags(outcome.parent, {Tag.VERDICT: "\n".join(verdict)})
        console.print()
        console.print(Text("Verdict", style="bold"))
        for sentence in verdict:
            console.print(sentence)
    for each in (*parts, ablation):
        check_no_run_failed(each)
    return True


def make_design(search: Search, best: Sequence[TrackedRun]) -> Design:
    """Return the best trials, and where they are others the default setting and source only, as cells of a design."""
    cells = [
        Cell(name_cell(search, run), {n: run.params[n] for n in search.space.names if n in run.params}) for run in best
    ]
    if all(cell.name != DEFAULT for cell in cells):
        cells.append(Cell(DEFAULT, search.space.make_point(search.base)))
    if search.reference is not None:
        cells.append(Cell(SOURCE_ONLY, search.reference))
    return Design(title=f"Winners of {search.name} under fresh seeds", cells=tuple(cells), base=cells[-1].name)


def name_cell(search: Search, run: TrackedRun) -> str:
    """Return the name of the cell that trains a trial again; of the default setting also where it was suggested."""
    return DEFAULT if run.tags[Tag.CONFIG_ID] == search.default_id else run.name


def make_confirmation_table(
    search: Search, design: Design, searched: Mapping[str, TrackedRun], runs: Sequence[TrackedRun]
) -> Table:
    """Tabulate each cell's score in the search beside its scores under fresh seeds.

    Args:
        search: the search.
        design: what was trained again.
        searched: the search's own trial of each cell that has one which began.
        runs: the fresh ones.
    """
    task, unit = find_task(search.config.data), Unit.of(search.score_metric)
    metric = task.real_headline
    is_measured = all(metric in run.metrics for run in searched.values() if run.status == "finished")
    rows: dict[str, tuple[Entry, ...]] = {}
    for cell in design.cells:
        again = [run for run in runs if run.tags.get(Tag.CELL) == cell.name and run.status == "finished"]
        scores = {run.run_id: run.metrics[SELECTION_SCORE] for run in again if SELECTION_SCORE in run.metrics}
        real = {run.run_id: run.metrics[metric] for run in again if is_measured}
        fresh = format_mean([unit.factor * score for score in scores.values()], unit.decimals)
        trial = searched.get(cell.name)
        before, change, real_before = (Entry(MISSING) for _ in range(3))
        if trial is not None and trial.status == "finished":
            score = trial.metrics[SELECTION_SCORE]
            moved = unit.format(statistics.fmean(scores.values()) - score, signed=True) if scores else MISSING
            before = Entry(unit.format(score), "", SELECTION_SCORE, {trial.run_id: score})
            change = Entry(moved, "", SELECTION_SCORE, scores)
            if is_measured:
                value = trial.metrics[metric]
                real_before = Entry(f"{100 * value:.1f}", "", metric, {trial.run_id: value})
        rows[cell.name] = (Entry(str(len(again))), before, Entry(fresh, "", SELECTION_SCORE, scores), change)
        if is_measured:
            on_real = format_mean([100 * value for value in real.values()], 1)
            rows[cell.name] += (real_before, Entry(on_real, "", metric, real))
    caption = (
        f"Score: {search.score_metric}. Searched: the trial's own, chosen for being high, so that it flatters; fresh: "
        "mean ± sample standard deviation over n seeds that the search has not seen. "
        f"{f'Real: {task.headline_words} on target/test' if is_measured else 'The data have no target/test'}."
    )
    if search.cost:
        caption += (
            " A score is the mean over trainings without each source"
            f"{', and so is real, searched; real, fresh is of trainings on all sources' if is_measured else ''}."
        )
    headings = ["trial", "n", unit.name("searched"), unit.name("fresh"), "change"]
    headings += ["real, searched %", "real, fresh %"] if is_measured else []
    return Table("confirmation", f"What survives of {search.name}", arrange_cells(headings, rows), caption)


def find_verdict(search: Search, best: TrackedRun, runs: Sequence[TrackedRun]) -> list[str]:
    """Return the verdict's sentences on the best trial by its fresh ``runs``; none where no real image has a label."""
    task = find_task(search.config.data)
    metric = task.real_headline

    def collect(cell: str) -> dict[int, float]:
        chosen = [run for run in runs if run.tags.get(Tag.CELL) == cell and run.status == "finished"]
        return {int(run.params["train.seed"]): 100 * run.metrics[metric] for run in chosen if metric in run.metrics}

    if not any(metric in run.metrics for run in runs) and any(run.status == "finished" for run in runs):
        return []
    chosen = name_cell(search, best)
    references = {name: collect(name) for name in (SOURCE_ONLY, DEFAULT) if name != chosen}
    confirmed = Confirmed(collect(chosen), {name: values for name, values in references.items() if values})
    verdict = make_verdict(confirmed, words=task.headline_words, is_default=chosen == DEFAULT)
    own = get_epochs(best.params, search.epochs)
    if confirmed.best and own != search.epochs:
        length = pluralize(own, "epoch")
        verdict.append(f"The best configuration trains for {length}, what it is compared with for {search.epochs}.")
    return verdict
