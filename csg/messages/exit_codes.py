"""Exit codes of commands and scripts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault
from csg.messages.interrupts import answer_interrupts


class RunsFailedError(Exception):
    """Some runs failed, and all others are done. The message says how many, and what happens to them."""


def run_to_exit_code(work: Callable[[], int], *, resumes: bool) -> int:
    """Call ``work``, and print the error that ended it on standard error in one line.

    Args:
        work: returns an exit code.
        resumes: whether the same command continues the work. The message then says so, and Ctrl-C is answered at once.

    Returns:
        The exit code of ``work``; 1 when runs failed; 2 when a flag, a setting or the data cannot be used; 3 when
        something outside ended it, such as a full disk or an unreachable store; 130 when it was interrupted, by a
        KeyboardInterrupt that may say what is left.
    """
    errors = Console(stderr=True)
    try:
        with answer_interrupts() if resumes else nullcontext():
            return work()
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
    except KeyboardInterrupt as interrupt:
        resuming = ". The same command goes on where it was." if resumes else "."
        Console().print("Interrupted" + (f"; {interrupt}." if str(interrupt) else resuming))
        return 130
