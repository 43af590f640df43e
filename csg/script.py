"""What the scripts share: a console, and exit codes that say how it went."""

from __future__ import annotations

from collections.abc import Callable

from csg.console import Console
from csg.object_store import StoreGoneError
from csg.settings import ConfigError
from csg.tracking import StoreError


class StoreAwayError(Exception):
    """The MLflow store did not answer; everything is on disk."""

    def __init__(self, what: str) -> None:
        """Name the store, or what it answered last."""
        super().__init__(
            f"the MLflow store does not answer as it should ({what}); nothing is lost: the same command fills it in "
            "and shows the result"
        )


def run_script(body: Callable[[Console], bool]) -> int:
    """Run a script's body, which returns whether everything was done.

    Returns:
        0 when it was, 130 when it was interrupted, 2 when a flag or a setting cannot be used, 3 when the MLflow store,
        or the store that holds the results, is away.
    """
    console, errors = Console(), Console(stderr=True)
    try:
        return 0 if body(console) else 130
    except ConfigError as error:
        errors.complain(error)
        return 2
    except (StoreAwayError, StoreGoneError) as error:
        errors.complain(error)
        return 3
    except StoreError as error:
        errors.complain(StoreAwayError(str(error).partition("\n")[0]))
        return 3
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where it was.")
        return 130
