"""What MLflow shows when a driver has died: no run that seems to be running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from csg.messages.errors import UserError
from csg.messages.faults import find_outside_fault
from csg.storage.place import Place
from csg.tracking import Tracker, TrackingError


class AnotherDriverError(UserError):
    """Another driver runs the same study, and owns what both share in MLflow."""


@contextlib.contextmanager
def close_on_error(tracker: Tracker, kind: str, key: str, folder: Place) -> Iterator[None]:
    """Where the block raises, end the parent run that it opened, and the running ones below it.

    Running ones become interrupted, since the same command goes on with them. The parent becomes interrupted where a
    signal or a fault outside ended the driver, and otherwise failed. Nothing changes where MLflow does not answer, or
    where another driver works below the same parent.

    Args:
        tracker: where they are.
        kind: of the parent; see :meth:`~csg.tracking.Tracker.open_parent`.
        key: names the parent.
        folder: the parent's.
    """
    try:
        yield
    except (TrackingError, AnotherDriverError):
        raise
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit)) or find_outside_fault(error) is not None
        with contextlib.suppress(TrackingError, OSError):
            _close(tracker, tracker.find_parent(kind, key, folder), stopped=stopped)
        raise


def _close(tracker: Tracker, parent: str | None, *, stopped: bool) -> None:
    if parent is None or tracker.client.get_run(parent).info.status != "RUNNING":
        return
    for run in tracker.read_children(parent):
        if run.status == "running":
            tracker.set_status(run.run_id, "interrupted")
    tracker.set_status(parent, "interrupted" if stopped else "failed")
