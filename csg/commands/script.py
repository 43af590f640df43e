"""What the scripts share: a console, and exit codes that say how it went."""

from __future__ import annotations

from collections.abc import Callable

from csg.messages.console import Console
from csg.messages.exit_codes import run_to_exit_code
from csg.messages.text import get_first_line
from csg.tracking import StoreError
from csg.tracking.refusals import describe_refusal, make_recording_error


def run_script(body: Callable[[Console], bool], *, resumes: bool = False) -> int:
    """Run a script's body, which returns whether everything was done.

    Args:
        body: prints to the console it is given.
        resumes: whether the same command goes on where it was when something ended it.

    Returns:
        0 when it was, 130 when it was interrupted, and 2 also when the MLflow store refuses for good, 3 when it is
        away; else see :func:`csg.messages.exit_codes.run_to_exit_code`.
    """
    console = Console()

    def whole() -> int:
        try:
            return 0 if body(console) else 130
        except StoreError as error:
            raise make_recording_error(get_first_line(str(error)), describe_refusal(error)) from None

    return run_to_exit_code(whole, resumes=resumes)
