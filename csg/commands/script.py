"""The frame of every script: a console and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from csg.messages.console import Console
from csg.messages.exit_codes import run_to_exit_code
from csg.messages.text import get_first_line
from csg.tracking import TrackingError
from csg.tracking.refusals import describe_refusal, make_recording_error


def run_script(work: Callable[[Console], bool], *, resumes: bool = False) -> int:
    """Run the work of a script.

    Args:
        work: takes the console, and returns whether everything was done.
        resumes: whether the same command continues after something ended it.

    Returns:
        0 when everything was done, 130 when the script was interrupted, 2 also when the MLflow store refuses for good,
        3 also when it is unreachable; else see :func:`csg.messages.exit_codes.run_to_exit_code`.
    """
    console = Console()

    def call() -> int:
        with explain_store_errors():
            return 0 if work(console) else 130

    return run_to_exit_code(call, resumes=resumes)


@contextmanager
def explain_store_errors() -> Iterator[None]:
    """Turn errors of the MLflow store into ones that say what to do.

    Raises:
        UserError, TrackingAwayError: the store refuses for good, or does not answer.
    """
    try:
        yield
    except TrackingError as error:
        raise make_recording_error(get_first_line(str(error)), describe_refusal(error)) from None
