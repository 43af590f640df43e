"""Search CSG's hyperparameters against real images: ``python tune_spaces/visda_search.py``.

Without arguments it runs on the bundled benchmark, glyphs (digits from fonts -> real handwritten digits).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from csg.parsing import parse_flags
from csg.script import StoreAwayError, run_script
from tune_spaces.confirmation import confirm
from tune_spaces.plan import SearchOptions, plan
from tune_spaces.search import run_search
from tune_spaces.summary import conclude


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search.

    Returns:
        An exit code; see :func:`~csg.script.run_script`.
    """

    def body(console: Console) -> bool:
        flags = parse_flags(
            SearchOptions, sys.argv[1:] if argv is None else argv, prog="visda_search.py", description=__doc__ or ""
        )
        search = plan(flags)
        console.print(search.where, style="bold", highlight=False, soft_wrap=True)
        outcome = run_search(search, console)
        if not outcome.recorded:
            raise StoreAwayError(outcome.tracker.uri)
        conclude(outcome, console)
        if search.options.confirm_top:
            confirm(outcome, search.options.confirm_top, search.options.seeds, console)
        return outcome.ending != "interrupted"

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
