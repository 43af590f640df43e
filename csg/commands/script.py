"""What the scripts share: a console, and exit codes that say how it went."""

from __future__ import annotations

from collections.abc import Callable

from csg.messages.console import Console
from csg.messages.exit_codes import exit_code_of
from csg.messages.text import first_line
from csg.tracking import StoreError
from csg.tracking.refusals import not_recorded, refusal_of


def run_script(body: Callable[[Console], bool], *, resumes: bool = False) -> int:
    """Run a script's body, which returns whether everything was done.

    Args:
        body: prints to the console it is given.
        resumes: whether the same command goes on where it was when something ended it.

    Returns:
        0 when it was, 130 when it was interrupted, and 2 also when the MLflow store refuses for good, 3 when it is
        away; else see :func:`csg.messages.exit_codes.exit_code_of`.
    """
    console = Console()

    def whole() -> int:
        try:
            return 0 if body(console) else 130
        except StoreError as error:
            raise not_recorded(first_line(str(error)), refusal_of(error)) from None

    return exit_code_of(whole, resumes=resumes)
