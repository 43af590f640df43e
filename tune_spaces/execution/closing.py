"""What a driver that dies leaves in MLflow: nothing that looks as if it was under way still."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from csg.messages.errors import UserError
from csg.messages.faults import find_outside_fault
from csg.tracking import StoreError, Tracker
from csg.tracking.tags import STATUS_TAG
from csg.training.record import Status


class AnotherDriverError(UserError):
    """Another driver is at work on the same search or ablation; what both share in MLflow is its own now."""


@contextlib.contextmanager
def closed_on_error(tracker: Tracker, kind: str, key: str, folder: Path) -> Iterator[None]:
    """Where the block raises, end the parent run that it opened, and the runs below that were under way.

    Runs under way are interrupted, for the same command goes on with them; so is the parent where what ended the driver
    lies outside of it, or it was told to stop. Where MLflow does not answer, all stays as it is there; so it does where
    another driver is at work below the same parent.

    Args:
        tracker: where they are.
        kind: of the parent; see :meth:`~csg.tracking.Tracker.open_parent`.
        key: names the parent.
        folder: the parent's.
    """
    try:
        yield
    except (StoreError, AnotherDriverError):
        raise
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit)) or find_outside_fault(error) is not None
        with contextlib.suppress(StoreError, OSError):
            _close(tracker, tracker.find_parent(kind, key, folder), stopped=stopped)
        raise


def _close(tracker: Tracker, parent: str | None, *, stopped: bool) -> None:
    if parent is None or tracker.client.get_run(parent).info.status != "RUNNING":
        return
    for run in tracker.read_children(parent):
        if run.status == "running":
            tracker.set_tags(run.run_id, {STATUS_TAG: "interrupted"})
            tracker.set_status(run.run_id, "interrupted")
    status: Status = "interrupted" if stopped else "failed"
    tracker.set_status(parent, status)
