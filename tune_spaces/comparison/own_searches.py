"""The searches of a comparison: one for each cell of a design, and the design of what they chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.text import Text

from analysis.runs.trials import rank_trials
from analysis.tables.table import MISSING, Entry, Table, arrange_cells
from csg.config.settings import flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.text import make_printable
from csg.messages.wording import pluralize
from csg.parsing import Flags, StoreOptions, build_config, overlay
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit, describe_score
from csg.training.selection import SELECTION_SCORE
from tune_spaces.designs.design import Cell, Design
from tune_spaces.search.plan import Search, SearchOptions, is_source_only, plan_search
from tune_spaces.search.script import describe_failures
from tune_spaces.search.search import run_search

OptionsT = TypeVar("OptionsT", bound=StoreOptions)


@dataclass(frozen=True)
class Chosen:
    """What the search of a cell came to."""

    search: Search
    best: TrackedRun
    default: TrackedRun | None
    """The trial of the default setting, where it has finished."""

    @property
    def runs(self) -> list[TrackedRun]:
        """The trials that are shown."""
        return [self.best] if self.default is None else [self.best, self.default]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The best trial's values of what was searched."""
        return {name: self.best.params[name] for name in self.search.space.names if name in self.best.params}


def plan_own_search(flags: Flags[OptionsT], cell: Cell, shared: SearchOptions, trials: int, console: Console) -> Search:
    """Plan the search of a cell: over what neither the cell nor a flag sets of its method's own space.

    Args:
        flags: settings of all cells.
        cell: what is searched around.
        shared: flags of every cell's search but for its number of trials.
        trials: of each search. The reference source only, which most searches have beside their own, is one more.
        console: where to print.

    Raises:
        UserError: the cell cannot be searched; names it. Nothing was trained.
    """
    given, stated = {**flags.given, **cell.changes}, flags.stated | cell.changes.keys()
    try:
        config = build_config(overlay(flatten(flags.config), cell.changes))
        options = dataclasses.replace(shared, num_samples=trials + (not is_source_only(config)))
        return plan_search(Flags(options, config, given, stated), console)
    except UserError as error:
        raise UserError(f"cell {cell.name!r} of the design: {error}") from None


def run_own_searches(searches: Mapping[str, Search], console: Console) -> dict[str, Chosen] | None:
    """Run what is missing of each search, one after the other.

    Returns:
        What was chosen, by cell; None where a search was interrupted.

    Raises:
        RunsFailedError: no trial of a search has finished, or trials lost their processes, which the same command tries
            again.
        UserError, OutsideFaultError: see :func:`~tune_spaces.search.search.run_search`.
    """
    chosen: dict[str, Chosen] = {}
    for number, (cell, search) in enumerate(searches.items(), start=1):
        what = f": search {number} of {len(searches)}, {pluralize(search.options.num_samples, 'trial')}, {search.name}"
        console.print(Text(make_printable(cell), style="bold"), what, sep="")
        outcome = run_search(search, console)
        if outcome.ending != "complete":
            console.print(f"The comparison {outcome.reason}. The same command goes on with it.")
            return None
        failures = describe_failures(search, lost=len(outcome.lost))
        trials = outcome.tracker.read_children(outcome.parent)
        ranked = rank_trials(trials)
        if outcome.lost or not ranked:
            raise RunsFailedError(f"cell {cell!r} of the design: {failures or 'no trial has finished with a score'}")
        default = next((run for run in ranked if run.tags[Tag.CONFIG_ID] == search.default_id), None)
        chosen[cell] = Chosen(search, ranked[0], default)
        console.print(f"  best: {make_printable(ranked[0].name)}")
    return chosen


def make_searched_design(design: Design, chosen: Mapping[str, Chosen], *, trials: int) -> Design:
    """Return the design with each cell at the best of its search of so many trials."""
    config = next(iter(chosen.values())).search.config
    how = f"{pluralize(trials, 'trial')} by {describe_score(config)} (protocol {config.selection.protocol})"
    return Design(
        title=f"{design.title}, each at the best of {how}",
        cells=tuple(
            dataclasses.replace(cell, changes={**cell.changes, **chosen[cell.name].settings}) for cell in design.cells
        ),
        base=design.base,
    )


def make_chosen_table(title: str, chosen: Mapping[str, Chosen]) -> Table:
    """Tabulate what each search chose, with its score and its default's in the search."""
    unit = Unit.of(next(iter(chosen.values())).search.score_metric)
    rows: dict[str, tuple[Entry, ...]] = {}
    for cell, each in chosen.items():
        rows[cell] = (
            _make_score(each.default, unit),
            _make_score(each.best, unit),
            Entry(each.best.name),
            Entry(each.search.name),
        )
    headings = ["cell", unit.name("default"), unit.name("best"), "the best trial", "search"]
    score = next(iter(chosen.values())).search.score_metric
    caption = (
        f"Score: {score}, of the trials' own seed; the best was chosen for being high, so that its score flatters. "
        f"{MISSING}: the trial of the default setting was stopped early, or failed."
    )
    return Table("searched", title, arrange_cells(headings, rows), caption)


def _make_score(run: TrackedRun | None, unit: Unit) -> Entry:
    if run is None:
        return Entry(MISSING)
    score = run.metrics[SELECTION_SCORE]
    return Entry(unit.format(score), "", SELECTION_SCORE, {run.run_id: score})
