"""A comparison of methods at their best: a search for each, then the winners under fresh seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Annotated, Final

from pydantic import Field

from analysis.tables.table import MISSING, Entry, Table, arrange_cells
from csg.config.settings import Count, flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.wording import pluralize
from csg.parsing import Flags, StoreOptions, build_config
from csg.tracking import TrackedRun
from csg.training.identity import Identity
from csg.training.score_words import Unit, describe_queries, describe_score
from csg.training.selection import SELECTION_SCORE, Protocol
from tune_spaces.ablation.ablation import Ablation, CellRun
from tune_spaces.ablation.script import check_flags, show_heading, train_and_conclude
from tune_spaces.comparison.cell_search import Winner, plan_cell_search, run_cell_searches, show_cell_searches
from tune_spaces.designs.design import Cell, Design
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import Search

TUNED: Final = "-tuned"
"""Ends the design's name of the ablation over the winners."""


@dataclasses.dataclass(frozen=True)
class ComparisonOptions(StoreOptions):
    """Flags of a comparison."""

    design: str = "methods"
    """methods, or any other design that an ablation takes. What a cell sets is not searched there."""
    num_samples: Annotated[int, Field(ge=2)] = 8
    """Trials of each cell's search, its default setting among them; source only is its reference beside them."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the samplers (trials use train.seed)."""
    seeds: Count = 10
    """Fresh seeds that each cell's best trial is trained under, from train.seed + 1; all cells share them."""
    concurrency: Annotated[int, Field(ge=0)] = 0
    """Trials or runs at a time; 0 fills the CPUs, but keeps at least four rounds of a search."""
    protocol: Protocol | None = None
    """What the searches may look at, as of any search: unlabelled, unless the data have no real images."""
    plan: bool = False
    """Print how far each search is and how long the missing trials may take; train nothing."""


def compare(flags: Flags[ComparisonOptions], name: str, design: Design, console: Console) -> bool:
    """Search each cell, train the winners under fresh seeds, and print the table.

    The searches are an experiment of their own, ``<experiment>-tuning``.

    Args:
        flags: of the comparison.
        name: the design's.
        design: what is compared.
        console: where to print.

    Returns:
        Whether nothing interrupted it; otherwise the same command goes on.

    Raises:
        UserError: a flag or a cell cannot be used; says which, what was expected and what was found.
        RunsFailedError: trials or runs failed; all others are done.
        OutsideFaultError: something outside ended it; the same command goes on.
    """
    options = flags.options
    searches = plan_comparison(flags, design, console)
    first = next(iter(searches.values()))
    cells, seeds = len(searches), pluralize(options.seeds, "fresh seed")
    in_turn = first.config.selection.protocol == "held_out_source"
    searched = sum(each.trainings * each.options.num_samples for each in searches.values())
    fresh = sum(options.seeds * (each.trainings + 1 if in_turn else 1) for each in searches.values())
    console.print(first.where, style="bold")
    console.print(first.selects_by)
    console.print(
        f"{pluralize(cells, 'search', 'searches')} of {pluralize(options.num_samples, 'trial')}, and the best of each "
        f"under {seeds}: at most {searched + fresh} trainings. What is on record is not trained again."
    )
    if first.cost:
        console.print(first.cost)
    if options.plan:
        show_cell_searches(searches, console)
        return True
    winners = run_cell_searches(searches, console)
    if winners is None:
        return False
    ablation = plan_fresh_runs(flags, name, design, winners.by_cell, failures=winners.failures)
    console.print()
    show_heading(ablation, console)
    table = make_winners_table(design.title, winners.by_cell)
    behind = [run for each in winners.by_cell.values() for run in (each.run, each.default) if run is not None]
    done = train_and_conclude(ablation, console, beside=(table, behind))
    if done and winners.failures:
        raise RunsFailedError("; ".join(winners.failures))
    return done


def plan_comparison(flags: Flags[ComparisonOptions], design: Design, console: Console) -> dict[str, Search]:
    """Plan the search of each cell.

    Raises:
        UserError: a flag sets what the design does, a cell cannot be searched, two cells are the same search, cells are
            scored by different figures, or there are not so many seeds.
    """
    options, config = flags.options, flags.config
    check_flags(flags.given, design)
    if "train.seed" in design.varied:
        raise UserError("--design: expected cells that share their seeds, found one that sets train.seed")
    build_config(flatten(config) | {"train.seed": config.train.seed + options.seeds})
    shared = SearchOptions(
        tracking_uri=options.tracking_uri,
        experiment=f"{options.experiment or config.data.name}-tuning",
        num_samples=options.num_samples,
        seed=options.seed,
        concurrency=options.concurrency,
        protocol=options.protocol,
        confirm_top=0,
    )
    searches: dict[str, Search] = {}
    for cell in design.cells:
        search = plan_cell_search(flags, cell, shared, console, starts=not options.plan)
        for other, before in searches.items():
            if search.name == before.name:
                raise UserError(
                    f"--design: expected cells that differ, found one search in {other!r} and {cell.name!r}"
                )
            if search.score_metric != before.score_metric:
                raise UserError(
                    f"--design: expected cells with the same selection score, found {before.score_metric} of {other!r} "
                    f"and {search.score_metric} of {cell.name!r}"
                )
        searches[cell.name] = search
    return searches


def plan_fresh_runs(
    flags: Flags[ComparisonOptions],
    name: str,
    design: Design,
    winners: Mapping[str, Winner],
    *,
    failures: Collection[str] = (),
) -> Ablation:
    """Return the ablation over the winners under fresh seeds. Cells whose searches chose the same are one row.

    Args:
        flags: of the comparison.
        name: the design's.
        design: what was searched.
        winners: by cell; cells without one are left out.
        failures: why some have none, in words.

    Raises:
        RunsFailedError: the cell that others are compared with has no winner.
    """
    if design.base not in winners:
        raise RunsFailedError(
            f"nothing to compare with: no trial of {design.base!r} has a score; {'; '.join(failures)}"
        )
    first = flags.config.train.seed + 1
    alike: dict[Identity, list[str]] = {}
    for name_of_cell, winner in winners.items():
        alike.setdefault(Identity.of(winner.configure(first), winner.search.pair), []).append(name_of_cell)
    rows = {each: " = ".join(same) for same in alike.values() for each in same}
    cells: dict[str, Cell] = {}
    for cell in design.cells:
        if cell.name in winners:
            row, against = rows[cell.name], rows.get(cell.against or "")
            changes = {**cell.changes, **winners[cell.name].settings}
            cells.setdefault(row, Cell(row, changes, None if against == row else against))
    search = winners[design.base].search
    most = "" if all(winner.had_all for winner in winners.values()) else "at most "
    how = f"{most}{pluralize(flags.options.num_samples, 'trial')} by {describe_score(search.config)}"
    looks = describe_queries(sum(winner.looks for winner in winners.values()), [search.config.selection.protocol])
    searched = Design(
        title=f"{design.title}, each at the best of {how} (protocol {search.config.selection.protocol}, {looks})",
        cells=tuple(cells.values()),
        base=rows[design.base],
    )
    by_row = {rows[cell]: winner for cell, winner in winners.items()}
    return Ablation(
        name=f"{name}{TUNED}",
        design=searched,
        runs=tuple(
            CellRun(cell, by_row[cell.name].configure(seed), by_row[cell.name].search.pair)
            for seed in range(first, first + flags.options.seeds)
            for cell in searched.cells
        ),
        tracking_uri=search.tracking_uri,
        experiment=flags.options.experiment or flags.config.data.name,
        concurrency=flags.options.concurrency,
        searches=tuple(winner.search.name for winner in winners.values()),
    )


def make_winners_table(title: str, winners: Mapping[str, Winner]) -> Table:
    """Tabulate each search's best trial and its default setting, by their scores in the search."""
    score = next(iter(winners.values())).search.score_metric
    unit = Unit.of(score)
    rows = {
        cell: (
            _make_score(each.default, unit),
            _make_score(each.run, unit),
            Entry(each.run.name),
            Entry(each.search.name),
        )
        for cell, each in winners.items()
    }
    headings = ["cell", unit.name("default"), unit.name("best"), "the best trial", "search"]
    caption = (
        f"Score: {score}, of the trials' own seed; the best was chosen for being high, so that its score flatters. "
        f"{MISSING}: the trial of the default setting failed."
    )
    return Table("winners", f"What each search chose: {title}", arrange_cells(headings, rows), caption)


def _make_score(run: TrackedRun | None, unit: Unit) -> Entry:
    if run is None:
        return Entry(MISSING)
    score = run.metrics[SELECTION_SCORE]
    return Entry(unit.format(score), "", SELECTION_SCORE, {run.run_id: score})
