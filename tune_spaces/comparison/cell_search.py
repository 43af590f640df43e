"""The search of one cell of a comparison: what is searched of it, and what came of that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.text import Text

from analysis.runs.trials import rank_trials
from csg.config import Config
from csg.config.settings import flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.text import make_printable
from csg.messages.wording import pluralize
from csg.parsing import Flags, StoreOptions, build_config, overlay, with_absolute_paths
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from tune_spaces.designs.design import Cell
from tune_spaces.search.journal import count_trials, count_unfinished
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import Search, is_source_only, plan_search
from tune_spaces.search.script import describe_failures
from tune_spaces.search.search import run_search
from tune_spaces.search.summary import describe_exhaustion, record_result

OptionsT = TypeVar("OptionsT", bound=StoreOptions)


@dataclass(frozen=True)
class Winner:
    """The best trial of a cell's search."""

    search: Search
    run: TrackedRun
    default: TrackedRun | None
    """The trial of the default setting, where it has finished."""
    looks: int
    """How often a figure measured on real images reached the search."""
    had_all: bool = True
    """Whether the search had as many trials as it was given; otherwise its space held no more."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The winner's values of what was searched."""
        return {name: self.run.params[name] for name in self.search.space.names if name in self.run.params}

    def configure(self, seed: int) -> Config:
        """Return the winner's configuration under a seed."""
        return build_config({**self.search.base, **self.settings, "train.seed": seed})


def plan_cell_search(
    flags: Flags[OptionsT], cell: Cell, options: SearchOptions, console: Console, *, starts: bool = True
) -> Search:
    """Plan the search of a cell: over what neither the cell nor a flag sets of its method's own space.

    Args:
        flags: settings of all cells. Those of another method than the cell's do not concern it.
        cell: what is searched around.
        options: flags of every cell's search. Most searches have source only as a reference, which is a trial more.
        console: where to print.
        starts: see :func:`~tune_spaces.search.plan.plan_search`.

    Raises:
        UserError: the cell cannot be searched; names it. Nothing was trained.
    """
    try:
        flat = overlay(flatten(flags.config), cell.changes)
        config = with_absolute_paths(build_config(flat))
        stated = {name: value for name, value in flatten(config).items() if name in cell.changes}
        given = {name: value for name, value in flags.given.items() if name in flat} | stated
        if not is_source_only(config):
            options = dataclasses.replace(options, num_samples=options.num_samples + 1)
        stated_names = flags.stated & flat.keys() | stated.keys()
        return plan_search(Flags(options, config, given, stated_names), console, starts=starts)
    except UserError as error:
        raise UserError(f"cell {cell.name!r} of the design: {error}") from None


def show_cell_searches(searches: Mapping[str, Search], console: Console) -> None:
    """Print how far each cell's search is, and how long what is missing of all may take."""
    left, spent = 0, list[float]()
    for cell, search in searches.items():
        events = search.journal.read_events()
        trials = count_trials(events, search.options.num_samples)
        missing = count_unfinished(events, trials)
        state = f"{trials - missing} of {pluralize(trials, 'trial')} ended" if events else "missing"
        console.print(Text(f"  {make_printable(cell):<36} {state}"))
        finished = {event.trial for event in events if event.kind == "ended" and event.decision == "finished"}
        spent += [sum(event.seconds for event in events if event.trial == trial) for trial in finished]
        left += missing
    guess = (
        "no finished trial to go by yet"
        if not spent
        else f"at most {pluralize(math.ceil(left * sum(spent) / len(spent) / 60), 'minute')}, one at a time"
    )
    console.print(f"Missing trials: {left}; {guess}")


@dataclass(frozen=True)
class Winners:
    """What the searches of a comparison came to."""

    by_cell: Mapping[str, Winner]
    """Without the cells of which no trial has finished."""
    failures: tuple[str, ...]
    """What failed, in words."""


def run_cell_searches(searches: Mapping[str, Search], console: Console) -> Winners | None:
    """Run what is missing of each cell's search, one search after the other.

    Returns:
        The winners; None where a search was interrupted.

    Raises:
        RunsFailedError: trials lost their processes, which the same command tries again; all others are done.
        UserError, OutsideFaultError: see :func:`~tune_spaces.search.search.run_search`.
    """
    winners: dict[str, Winner] = {}
    failures: list[str] = []
    lost: list[str] = []
    for number, (cell, search) in enumerate(searches.items(), start=1):
        where = f": search {number} of {len(searches)}, {pluralize(search.options.num_samples, 'trial')}, {search.name}"
        console.print(Text(make_printable(cell), style="bold"), where, sep="")
        outcome = run_search(search, console)
        if outcome.ending != "complete":
            console.print(f"The comparison {outcome.reason}. The same command goes on with it.")
            return None
        runs = outcome.tracker.read_children(outcome.parent)
        events = search.journal.read_events()
        looks = record_result(search, outcome, runs, events)
        exhausted = describe_exhaustion(events)
        if exhausted:
            console.print(f"  {exhausted}")
        if said := describe_failures(search, lost=len(outcome.lost)):
            (lost if outcome.lost else failures).append(f"{cell}: {said}")
        trials = rank_trials(runs)
        if not trials:
            failures += [] if said else [f"{cell}: no trial has a score"]
            continue
        default = next((run for run in trials if run.tags[Tag.CONFIG_ID] == search.default_id), None)
        winners[cell] = Winner(search, trials[0], default, looks, had_all=not exhausted)
        console.print(f"  best: {make_printable(trials[0].name)}")
    if lost:
        raise RunsFailedError("; ".join([*lost, *failures]))
    return Winners(winners, tuple(failures))
