"""What the scripts share: a console, and exit codes that say how it went."""

from __future__ import annotations

from collections.abc import Callable

from csg.console import Console
from csg.faults import OutsideFaultError, find_outside_fault
from csg.settings import ConfigError
from csg.tracking import StoreError
from csg.tracking.refusals import refusal_of


class StoreAwayError(OutsideFaultError):
    """The MLflow store did not answer; everything is on disk."""

    def __init__(self, what: str) -> None:
        """Name the store, or what it answered last."""
        super().__init__(
            f"the MLflow store does not answer as it should ({what}); nothing is lost: the same command fills it in "
            "and shows the result"
        )


class RunsFailedError(Exception):
    """Everything was done, and some runs failed; the message says how many, and what becomes of them."""


def not_recorded(uri: str, refusal: str) -> Exception:
    """Return the error of a store that lacks something: it refuses, for ``refusal``, or is away where that is empty."""
    return ConfigError(refusal) if refusal else StoreAwayError(uri)


def run_script(body: Callable[[Console], bool]) -> int:
    """Run a script's body, which returns whether everything was done.

    Returns:
        0 when it was, 1 when runs failed, 130 when it was interrupted, 2 when a flag or a setting cannot be used or the
        MLflow store refuses for good, 3 when something outside ended it: the MLflow store, or the store that holds the
        results, is away, or a disk is full.
    """
    console, errors = Console(), Console(stderr=True)
    try:
        return 0 if body(console) else 130
    except ConfigError as error:
        errors.complain(error)
        return 2
    except RunsFailedError as error:
        errors.complain(error)
        return 1
    except StoreError as error:
        refusal = refusal_of(error)
        errors.complain(not_recorded(str(error).partition("\n")[0], refusal))
        return 2 if refusal else 3
    except (OutsideFaultError, OSError) as error:
        fault = find_outside_fault(error)
        if fault is None:
            raise
        errors.complain(fault)
        return 3
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where it was.")
        return 130
