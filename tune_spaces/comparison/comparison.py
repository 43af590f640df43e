"""A comparison from its first search to its table."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Final

from pydantic import Field

from analysis.tables.table import write_tables
from csg.config.settings import Count, flatten
from csg.messages.console import Console
from csg.parsing import Flags, StoreOptions, build_config
from csg.training.selection import Protocol
from tune_spaces.ablation.script import AblationOptions, check_flags, plan_ablation, show_heading, train_and_conclude
from tune_spaces.comparison.own_searches import (
    make_chosen_table,
    make_searched_design,
    plan_own_search,
    run_own_searches,
)
from tune_spaces.designs.design import Design
from tune_spaces.search.plan import SearchOptions

SEARCHED: Final = "-searched"
"""Ends the design's name of an ablation over what the searches of a comparison chose."""


@dataclasses.dataclass(frozen=True)
class ComparisonOptions(StoreOptions):
    """Flags of a comparison."""

    design: str = "methods"
    """methods, or any other design that an ablation takes. What a cell sets is not searched there."""
    trials: Annotated[int, Field(ge=2)] = 8
    """Trials of each cell's search, its default setting among them."""
    seeds: Count = 10
    """Fresh seeds that each cell's best trial is trained under, from train.seed + 1; all cells share them."""
    sampler_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the searches' samplers (trials use train.seed)."""
    concurrency: Annotated[int, Field(ge=0)] = 0
    """Trials or runs at a time; 0 fills the CPUs, but keeps at least four rounds of a search."""
    protocol: Protocol | None = None
    """What the searches may look at, as of any search: unlabelled, unless the data have no real images."""


def compare(flags: Flags[ComparisonOptions], name: str, design: Design, console: Console) -> bool:
    """Search each cell, train the best of each under fresh seeds, and print the table.

    Args:
        flags: of the comparison.
        name: the design's.
        design: what is compared.
        console: where to print.

    Returns:
        Whether nothing interrupted it; otherwise the same command goes on.

    Raises:
        UserError: a flag or a cell cannot be used; says which, what was expected and what was found.
        RunsFailedError, OutsideFaultError: see :func:`~tune_spaces.comparison.own_searches.run_own_searches` and
            :func:`~tune_spaces.ablation.script.train_and_conclude`.
    """
    options, config = flags.options, flags.config
    check_flags(flags.given, design)
    shared = make_options(options)
    searches = {cell.name: plan_own_search(flags, cell, shared, options.trials, console) for cell in design.cells}
    first = next(iter(searches.values()))
    console.print(first.where, style="bold")
    console.print(first.selects_by)
    chosen = run_own_searches(searches, console)
    if chosen is None:
        return False
    searched = make_searched_design(design, chosen, trials=options.trials)
    fresh = build_config(flatten(config) | {"train.seed": config.train.seed + 1})
    ablation_options = AblationOptions(
        tracking_uri=options.tracking_uri,
        experiment=options.experiment,
        seeds=options.seeds,
        concurrency=options.concurrency,
    )
    ablation = plan_ablation(Flags(ablation_options, fresh, {}), f"{name}{SEARCHED}", searched, console)
    console.print()
    table = make_chosen_table(f"What each search chose: {design.title}", chosen)
    write_tables([table], [run for each in chosen.values() for run in each.runs], ablation.folder)
    console.print(table.to_rich())
    console.print(table.caption)
    show_heading(ablation, console)
    return train_and_conclude(ablation, console)


def make_options(options: ComparisonOptions) -> SearchOptions:
    """Return the flags that the searches of a comparison share."""
    return SearchOptions(
        tracking_uri=options.tracking_uri,
        experiment=options.experiment,
        seed=options.sampler_seed,
        concurrency=options.concurrency,
        protocol=options.protocol,
        confirm_top=0,
    )
