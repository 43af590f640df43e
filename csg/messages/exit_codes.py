"""Exit codes, which say how a command or a script went."""

from __future__ import annotations

from collections.abc import Callable

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault


class RunsFailedError(Exception):
    """Everything was done, and some runs failed; the message says how many, and what becomes of them."""


def exit_code_of(body: Callable[[], int], *, resumes: bool) -> int:
    """Call ``body`` and say on standard error what ended it, in one line.

    Args:
        body: returns an exit code of its own.
        resumes: whether the same command goes on where it was, which is then said.

    Returns:
        What ``body`` does; 1 when runs failed; 2 when a flag or a setting cannot be used; 3 when something
        outside ended it, such as a full disk or a store that is away; 130 when it was interrupted.
    """
    errors = Console(stderr=True)
    try:
        return body()
    except UserError as error:
        errors.complain(error)
        return 2
    except RunsFailedError as error:
        errors.complain(error)
        return 1
    except (OutsideFaultError, OSError) as error:
        fault = find_outside_fault(error)
        if fault is None:
            raise
        errors.complain(f"{fault}; nothing is lost: {fault.later}" if resumes else fault)
        return 3
    except KeyboardInterrupt:
        Console().print("Interrupted." + (" The same command goes on where it was." if resumes else ""))
        return 130
