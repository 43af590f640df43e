"""What every search script does: read flags, search, say what came of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from csg.parsing import parse_flags
from csg.script import StoreAwayError, run_script
from tune_spaces.confirmation import confirm
from tune_spaces.plan import SearchOptions, plan
from tune_spaces.search import run_search
from tune_spaces.summary import conclude

THREADS: Final = min(2, os.cpu_count() or 1)
"""On two cores, one trial at a time that uses both: no core is idle while the last trial ends, and the sampler has seen
every trial before it suggests the next."""


def search_script(
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    base: Mapping[str, Any] | None = None,
    options: type[SearchOptions] = SearchOptions,
) -> int:
    """Run a search.

    Args:
        argv: flags; None takes the process's.
        prog: the script's name.
        description: what ``--help`` says above the flags.
        options: flags of the search, with the script's own defaults.
        base: settings, of the pair that they name, to start from where there is no ``--config``, beside ``THREADS``
            threads a trial.

    Returns:
        An exit code; see :func:`~csg.script.run_script`.
    """

    def body(console: Console) -> bool:
        given = sys.argv[1:] if argv is None else argv
        start = {"train.threads": THREADS}
        if _pair_named(given) in (None, (base or {}).get("data.name")):
            start |= base or {}
        search = plan(parse_flags(options, given, prog=prog, description=description, base=start))
        console.print(search.where, style="bold", highlight=False, soft_wrap=True)
        outcome = run_search(search, console)
        if not outcome.recorded:
            raise StoreAwayError(outcome.tracker.uri)
        conclude(outcome, console)
        if search.options.confirm_top:
            confirm(outcome, search.options.confirm_top, search.options.seeds, console)
        return outcome.ending != "interrupted"

    return run_script(body)


def _pair_named(argv: Sequence[str]) -> str | None:
    """Return the pair that a flag names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data.name", dest="pair")
    named: str | None = parser.parse_known_args(argv)[0].pair
    return named
