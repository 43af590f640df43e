"""What every search script does: read flags, search, say what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from csg.console import Console
from csg.parsing import JOURNAL, parse_flags
from csg.script import RunsFailedError, not_recorded, run_script
from tune_spaces.journal import Journal
from tune_spaces.plan import SearchOptions, plan
from tune_spaces.search import Outcome, run_search

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
        An exit code; see :func:`~csg.script.run_script`.
    """

    def body(console: Console) -> bool:
        given = sys.argv[1:] if argv is None else argv
        start = {"data.name": pair, "train.threads": THREADS}
        search = plan(parse_flags(options, given, prog=prog, description=description, base=start))
        console.print(search.where, style="bold")
        outcome = run_search(search, console)
        # What draws figures and tables takes seconds to import: a search does not start later for it.
        from tune_spaces.summary import conclude

        if not outcome.recorded:
            raise not_recorded(outcome.tracker.uri, outcome.refusal)
        conclude(outcome, console)
        if search.options.confirm_top:
            from tune_spaces.confirmation import confirm

            confirm(outcome, search.options.confirm_top, search.options.seeds, console)
        if outcome.ending == "interrupted":
            return False
        check_none_failed(outcome)
        return True

    return run_script(body)


def check_none_failed(outcome: Outcome) -> None:
    """Say at the end how many trials failed.

    Raises:
        RunsFailedError: any did, or its process died.
    """
    events = Journal(outcome.search.folder / JOURNAL).events()
    failed = sum(event.kind == "ended" and event.decision == "failed" for event in events)
    parts = []
    if failed:
        parts.append(f"{failed} failed, for reasons of their configurations, which are not tried again")
    if outcome.lost:
        parts.append(f"{len(outcome.lost)} lost their processes, which the same command tries again")
    if parts:
        raise RunsFailedError(f"of {outcome.search.options.num_samples} trials, {' and '.join(parts)}")
