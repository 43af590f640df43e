"""What every search script does: read flags, search, say what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from csg.commands.opening import show_earlier_runs
from csg.commands.script import run_script
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.wording import pluralize
from csg.parsing import parse_flags
from csg.storage.layout import JOURNAL
from csg.tracking import make_recording_error
from tune_spaces.search.journal import Journal
from tune_spaces.search.plan import SearchOptions, plan
from tune_spaces.search.search import Outcome, run_search

THREADS: Final = min(2, os.cpu_count() or 1)
"""On two cores, one trial at a time that uses both: no core is idle while the last trial ends, and the sampler has seen
every trial before it suggests the next."""


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

    def body(console: Console) -> bool:
        given = sys.argv[1:] if argv is None else argv
        start = {"data.name": pair, "train.threads": THREADS}
        search = plan(parse_flags(options, given, prog=prog, description=description, base=start), console)
        console.print(search.where, style="bold")
        show_earlier_runs(search.config, console)
        outcome = run_search(search, console)
        # What draws figures and tables takes seconds to import: a search does not start later for it.
        from tune_spaces.search.summary import conclude

        if not outcome.recorded:
            raise make_recording_error(outcome.tracker.uri, outcome.refusal)
        conclude(outcome, console)
        return _end(outcome, console)

    return run_script(body, resumes=True)


def _end(outcome: Outcome, console: Console) -> bool:
    """Confirm the best trials if that was asked for, and return whether everything was done.

    Raises:
        UserError, RunsFailedError: of the search and of its confirmation, in one message.
    """
    if outcome.ending == "interrupted":
        return False
    done, said = True, []
    try:
        check_no_trial_failed(outcome)
    except RunsFailedError as error:
        said.append(str(error))
    try:
        done = _confirm(outcome, console) if outcome.search.options.confirm_top else True
    except RunsFailedError as error:
        said.append(str(error))
    except UserError as error:
        raise UserError("; ".join([*said, str(error)])) from None
    if done and said:
        raise RunsFailedError("; ".join(said))
    return done


def _confirm(outcome: Outcome, console: Console) -> bool:
    """Train the best trials again where the search is over; return whether nothing interrupted that."""
    if outcome.ending != "complete" or outcome.lost:
        console.print("--confirm-top: left out until every trial has ended; the same command goes on with them first.")
        return True
    from tune_spaces.search.confirmation import confirm

    return confirm(outcome, outcome.search.options.confirm_top, outcome.search.options.seeds, console)


def check_no_trial_failed(outcome: Outcome) -> None:
    """Say at the end how many trials failed.

    Raises:
        RunsFailedError: any did, or its process died.
    """
    events = Journal(outcome.search.folder / JOURNAL).events()
    given = outcome.search.options.num_samples
    trials = next((event.trial for event in events if event.kind == "exhausted"), given)
    failed = sum(event.kind == "ended" and event.decision == "failed" for event in events)
    lost = len(outcome.lost)
    parts = []
    if failed:
        whose = "its configuration, which is" if failed == 1 else "their configurations, which are"
        parts.append(f"{failed} failed, for reasons of {whose} not tried again")
    if lost:
        processes = "its process" if lost == 1 else "their processes"
        parts.append(f"{lost} lost {processes}, which the same command tries again")
    if parts:
        raise RunsFailedError(f"of {pluralize(trials, 'trial')}, {' and '.join(parts)}")
