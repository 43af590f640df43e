"""What scripts that run an ablation share: flags, plan, and the table at the end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import Field
from rich.text import Text

from analysis.runs.run_table import AblationRuns
from analysis.tables.comparisons import make_ablation_table
from analysis.tables.table import Table, write_tables
from csg.commands.opening import check_starting_weights, open_pair, show_remarks
from csg.commands.script import run_script
from csg.commands.tracked_training import check_store
from csg.config import Config, DataConfig
from csg.config.settings import Count, Flat, flatten
from csg.data.pair import Pair
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.text import make_printable
from csg.messages.wording import format_numbers, pluralize
from csg.parsing import Flags, StoreOptions, build_config, parse_flags
from csg.storage.layout import place_at
from csg.tasks import find_task
from csg.tracking import TrackedRun, View, get_default_tracking_uri
from csg.training.dry_run import check_buildable
from csg.training.identity import Identity
from csg.training.selection import get_score_metric
from tune_spaces.ablation.ablation import Ablation, CellRun, configure_cells, estimate_seconds, run_ablation
from tune_spaces.ablation.held_out import plan_parts
from tune_spaces.designs.design import Design
from tune_spaces.execution.driver import Outcome


@dataclasses.dataclass(frozen=True)
class AblationOptions(StoreOptions):
    """Flags of an ablation."""

    seeds: Count = 3
    """Seeds of each cell, counting up from train.seed; all cells share them."""
    plan: bool = False
    """Print what is on record, what is missing and how long it may take; train nothing."""
    concurrency: Annotated[int, Field(ge=0)] = 0
    """Runs at a time; 0 fills the CPUs."""
    protocol: Literal["held_out_source"] | None = None
    """held_out_source: train every cell without each of several sources too, and show its figure on what was held out
    (short for --selection.protocol; the other protocols need no more trainings, and their figures are always there)."""


OptionsT = TypeVar("OptionsT", bound=AblationOptions)


def make_cell_runs(design: Design, config: Config, seeds: int, console: Console) -> tuple[CellRun, ...]:
    """Make every cell's configuration under every seed, and see that each can be trained and is trained once.

    Raises:
        UserError: says which setting, what was expected and what was found.
    """
    runs = []
    pairs: dict[DataConfig, Pair] = {}
    cells: dict[Identity, str] = {}
    for cell, cell_config in configure_cells(design, flatten(config), seeds):
        if cell_config.data not in pairs:
            pairs[cell_config.data] = open_pair(cell_config, console)
        pair = pairs[cell_config.data]
        if cell_config.train.seed == config.train.seed:
            check_buildable(cell_config, classes=len(pair.classes), sources=pair.source_count)
            name = cells.setdefault(Identity.of(cell_config, pair), cell.name)
            if name != cell.name:
                raise UserError(
                    f"--design: expected cells that differ, found that {name!r} and {cell.name!r} train the same with "
                    "these settings; leave out the flag, or the line of --config, that makes them one"
                )
        runs.append(CellRun(cell, cell_config, pair))
    return tuple(runs)


def check_flags(given: Flat, design: Design) -> None:
    """See that no flag sets what a design does.

    Raises:
        UserError: names the first that does.
    """
    refused = [setting for setting in given if setting in design.varied]
    if refused:
        raise UserError(f"--{refused[0]}: this design sets it cell by cell; leave it out, or declare a design")


def plan_ablation(flags: Flags[OptionsT], name: str, design: Design, console: Console) -> Ablation:
    """Check everything that can be checked before anything is started.

    Raises:
        UserError: says which flag, what was expected and what was found.
    """
    options, config = flags.options, flags.config
    if options.protocol is not None:
        config = build_config(flatten(config) | {"selection.protocol": options.protocol})
    check_flags(flags.given, design)
    place_at(config.train.output).reach("train.output", writing=True)
    if not options.plan:
        check_store(config, uri=options.tracking_uri, experiment=options.experiment, needed_by="an ablation")
    runs = make_cell_runs(design, config, options.seeds, console)
    if not options.plan:
        for each in runs:
            if each.config.train.seed == config.train.seed:
                check_starting_weights(each.config, console)
    return Ablation(
        name=name,
        design=design,
        runs=runs,
        tracking_uri=options.tracking_uri or get_default_tracking_uri(config.train.output),
        experiment=options.experiment or config.data.name,
        concurrency=options.concurrency,
    )


def show_heading(ablation: Ablation, console: Console) -> None:
    """Print what is trained, and what should be known before."""
    cells = len(ablation.design.cells)
    console.print(
        Text(make_printable(ablation.design.title), style="bold"),
        f": {pluralize(cells, 'cell')} x {pluralize(len(ablation.runs) // cells, 'seed')} on "
        f"{ablation.runs[0].pair.description}",
        sep="",
    )
    show_remarks(ablation.runs[0].config, ablation.runs[0].pair, console)


def show_plan(ablation: Ablation, console: Console) -> None:
    """Print the cells with the state of their runs."""
    states: dict[str, dict[str, list[int]]] = {}
    for cell_run in ablation.runs:
        run = cell_run.run()
        begun = f"begun ({len(run.record.epochs)} of {pluralize(cell_run.config.train.epochs, 'epoch')})"
        missing = begun if run.checkpoint.exists() else "missing"
        state = run.record.status if run.record.status in ("finished", "failed") else missing
        states.setdefault(cell_run.cell.name, {}).setdefault(state, []).append(cell_run.config.train.seed)
    for name, seeds in states.items():
        told = "; ".join(f"{format_numbers('seed', numbers)} {state}" for state, numbers in seeds.items())
        console.print(f"  {name:<36} {told}")
    seconds = estimate_seconds(ablation)
    guess = (
        "no finished run to go by yet"
        if seconds is None
        else f"about {pluralize(round(seconds / 60), 'minute')}, one at a time"
    )
    console.print(f"Missing runs: {guess}")


def train_and_conclude(
    ablation: Ablation, console: Console, *, beside: tuple[Table, Sequence[TrackedRun]] | None = None
) -> bool:
    """Train what is missing, write and print the table, and return whether nothing interrupted it.

    Args:
        ablation: what is trained.
        console: where to print.
        beside: another table that is written beside it, and the runs behind that one.

    Raises:
        UserError, OutsideFaultError: see :func:`~tune_spaces.ablation.ablation.run_ablation`.
        RunsFailedError: some of the runs failed.
    """
    ablations = [*plan_parts(ablation), ablation]
    for each in ablations:
        outcome = run_ablation(each, console)
        if each is ablation or outcome.ending != "complete":
            conclude(each, outcome, console, beside=beside if each is ablation else None)
        if outcome.ending != "complete":
            return False
    for each in ablations:
        check_no_run_failed(each)
    return True


def conclude(
    ablation: Ablation,
    outcome: Outcome,
    console: Console,
    *,
    beside: tuple[Table, Sequence[TrackedRun]] | None = None,
) -> None:
    """Write the table and attach it to the ablation's run, as the one ``beside`` it, and print it."""
    tracker = outcome.tracker
    runs = tuple(tracker.read_children(outcome.parent))
    # Runs of several commits have the same program, or they would be another ablation's.
    table = make_ablation_table(AblationRuns(tracker.read(outcome.parent), runs), mix=("commit",))
    others, behind = ([], []) if beside is None else ([beside[0]], beside[1])
    for path in write_tables([table, *others], [*runs, *behind], ablation.folder):
        tracker.log_artifact(outcome.parent, path)
    tracker.share_view(make_view(ablation, outcome.parent, runs), ablation.study.description)
    console.print()
    console.print(table.to_rich())
    console.print(table.caption)
    console.print(f"Tables: {ablation.folder}")
    if outcome.ending != "complete":
        console.print(f"The ablation {outcome.reason}. The same command goes on with it.")


def make_view(ablation: Ablation, parent: str, runs: Sequence[TrackedRun]) -> View:
    """Say what MLflow's page of the runs shows."""
    config, logged = ablation.runs[0].config, {name for run in runs for name in run.params}
    varied = sorted(ablation.design.varied & logged - {"method.name"})
    return View(parent, varied, get_score_metric(config), find_task(config.data).real_headline)


def check_no_run_failed(ablation: Ablation) -> None:
    """Say at the end how many runs of a complete ablation failed.

    Raises:
        RunsFailedError: any did.
    """
    failed = sum(each.run().record.status != "finished" for each in ablation.runs)
    if failed:
        raise RunsFailedError(
            f"{failed} of {pluralize(len(ablation.runs), 'run')} failed; the same command tries "
            f"{'it' if failed == 1 else 'them'} again"
        )


def run_design(
    argv: Sequence[str] | None,
    options: type[OptionsT],
    make_design: Callable[[Flags[OptionsT]], tuple[str, Design]],
    *,
    prog: str,
    description: str,
) -> int:
    """Run what is missing of the design, with its name, that ``make_design`` makes of the command line.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`.
    """

    def do_work(console: Console) -> bool:
        flags = parse_flags(options, sys.argv[1:] if argv is None else argv, prog=prog, description=description)
        ablation = plan_ablation(flags, *make_design(flags), console)
        show_heading(ablation, console)
        if flags.options.plan:
            for each in [*plan_parts(ablation), ablation]:
                show_plan(each, console)
            return True
        return train_and_conclude(ablation, console)

    return run_script(do_work, resumes=True)
