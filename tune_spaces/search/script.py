"""What every search script does: read flags, search, say what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from csg.commands.opening import show_remarks
from csg.commands.script import run_script
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.wording import pluralize
from csg.parsing import parse_flags
from tune_spaces.execution.driver import Outcome
from tune_spaces.search.journal import count_trials
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import Search, plan_search
from tune_spaces.search.search import run_search

THREADS: Final = min(2, os.cpu_count() or 1)
"""On two cores, one trial at a time uses both: no core is idle while the last trial ends, and the sampler knows every
trial before it suggests the next."""
START: Final = {"train.threads": THREADS}
"""Settings of a search unless somebody sets them."""


def search_script(
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    pair: str,
    options: type[SearchOptions] = SearchOptions,
) -> int:
    """Run a search.

    Args:
        argv: flags; None takes the process's.
        prog: the script's name.
        description: what ``--help`` says above the flags.
        pair: ``data.name`` unless a flag or ``--config`` says otherwise.
        options: flags of the search, with the script's own defaults.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`.
    """

    def do_work(console: Console) -> bool:
        given = sys.argv[1:] if argv is None else argv
        flags = parse_flags(options, given, prog=prog, description=description, base=START | {"data.name": pair})
        return search_and_conclude(plan_search(flags, console), console).done

    return run_script(do_work, resumes=True)


@dataclass(frozen=True)
class Conclusion:
    """What came of a search."""

    outcome: Outcome
    done: bool
    """Whether nothing interrupted it or its confirmation."""


def search_and_conclude(search: Search, console: Console) -> Conclusion:
    """Run what is missing of a search, write and print what came of it, and confirm its best trials if that was asked.

    Raises:
        UserError, RunsFailedError: see :func:`~tune_spaces.search.search.run_search` and
            :func:`confirm_and_count_failures`.
    """
    console.print(search.where, style="bold")
    console.print(search.selects_by)
    if search.cost:
        console.print(search.cost)
    show_remarks(search.config, search.pair, console)
    outcome = run_search(search, console)
    # What draws figures and tables takes seconds to import: a search does not start later for it.
    from tune_spaces.search.summary import conclude, show_other_choices
    from tune_spaces.search.worth import show_worth

    conclude(search, outcome, console)
    try:
        done = outcome.ending != "interrupted" and confirm_and_count_failures(search, outcome, console)
    except RunsFailedError:
        show_other_choices(search, outcome, console)
        raise
    show_other_choices(search, outcome, console)
    show_worth(search, outcome, console)
    return Conclusion(outcome, done)


def confirm_and_count_failures(search: Search, outcome: Outcome, console: Console) -> bool:
    """Confirm the best trials if that was asked for, and return whether nothing interrupted that.

    Raises:
        UserError, RunsFailedError: of the search and of its confirmation, in one message.
    """
    done, failures = True, [said for said in [describe_failures(search, lost=len(outcome.lost))] if said]
    try:
        if search.confirmed:
            done = _confirm(search, outcome, console)
    except RunsFailedError as error:
        failures.append(str(error))
    except UserError as error:
        raise UserError("; ".join([*failures, str(error)])) from None
    if done and failures:
        raise RunsFailedError("; ".join(failures))
    return done


def _confirm(search: Search, outcome: Outcome, console: Console) -> bool:
    if outcome.ending != "complete" or outcome.lost:
        console.print("--confirm-top: left out until every trial has ended; the same command goes on with them first.")
        return True
    from tune_spaces.search.confirmation import confirm

    return confirm(search, outcome, console)


def describe_failures(search: Search, *, lost: int) -> str:
    """Say how many trials failed, or lost their processes for good; empty where none did."""
    events = search.journal.read_events()
    trials = count_trials(events, search.options.num_samples)
    failed = sum(event.kind == "ended" and event.decision == "failed" for event in events)
    parts = []
    if failed:
        whose = "its configuration, which is" if failed == 1 else "their configurations, which are"
        parts.append(f"{failed} failed, for reasons of {whose} not tried again")
    if lost:
        processes = "its process" if lost == 1 else "their processes"
        parts.append(f"{lost} lost {processes}, which the same command tries again")
    return f"of {pluralize(trials, 'trial')}, {' and '.join(parts)}" if parts else ""
