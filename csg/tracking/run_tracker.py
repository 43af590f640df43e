"""One run's place in the store, kept up to date with its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial

from csg.storage.files import exists
from csg.tracking.refusals import is_lasting
from csg.tracking.store import StoreError
from csg.tracking.tracker import Tracker
from csg.training.evaluation import score_after
from csg.training.record import Record
from csg.training.run import Run


class RunTracker:
    """Keeps one run's place in the store up to date with its record."""

    def __init__(
        self,
        tracker: Tracker,
        run: Run,
        *,
        parent: str | None = None,
        name: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Find or make the run in the store; see :meth:`~csg.tracking.tracker.Tracker.open_run`."""
        self._tracker = tracker
        self._run = run
        self._find = partial(tracker.open_run, run.config, run.pair, parent=parent, name=name, tags=tags)
        self._open()
        self.refusal = ""
        """What the store refused for good when it was last written to, and what to do; empty where it took all."""

    def _open(self) -> None:
        self.run_id = self._find()
        self._logged, self._status = self._tracker.read_progress(self.run_id)

    def try_to_log(self) -> bool:
        """Call :meth:`log`; return whether the store took everything. See :attr:`refusal`."""
        try:
            self.log()
        except StoreError as error:
            self.refusal = self._tracker.describe_refusal(error)
            return False
        self.refusal = ""
        return True

    def log(self, record: Record | None = None) -> None:
        """Write the epochs that the store lacks, and the run's status; a run that was deleted meanwhile is made anew.

        Raises:
            StoreError: the store is away, or refuses.
        """
        record = record or self._run.record
        try:
            self._log(record)
        except StoreError as error:
            if not is_lasting(error):
                raise
            self._open()
            self._log(record)

    def _log(self, record: Record) -> None:
        if self._status == record.status == "finished":
            return  # everything is there, and a step has one value
        if record.final:
            # Not on record, because it depends on the protocol, which is no part of what is trained.
            score = score_after(record.epochs, self._run.config)
            record = dataclasses.replace(record, final={**record.final, "selection/score": score})
        for path in (self._run.outputs, self._run.pictures) if record.status == "finished" else ():
            if exists(path):
                self._tracker.log_artifact(self.run_id, path)
        self._tracker.log_record(self.run_id, record, known_epochs=self._logged)
        self._logged, self._status = max(self._logged, len(record.epochs)), record.status
