"""A run in the store, kept up to date with its record on disk."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial

from csg.tracking.refusals import is_lasting
from csg.tracking.store import TrackingError
from csg.tracking.tracker import Tracker
from csg.tracking.view import make_run_address
from csg.training.mean_run import MeanRun, read_held_out_figures
from csg.training.record import Record
from csg.training.run import Run
from csg.training.selection import SELECTION_SCORE, compute_score_after, get_score_metric


class RunTracker:
    """Keeps a run in the store up to date with its record on disk."""

    def __init__(
        self,
        tracker: Tracker,
        run: Run | MeanRun,
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
        """Refusal of the store at the last attempt to write, and what to do; empty if there was none."""

    @property
    def uri(self) -> str:
        """The store."""
        return self._tracker.uri

    @property
    def page(self) -> str:
        """The address of the run's page, to append to the server's."""
        return make_run_address(self._tracker.experiment_id, self.run_id)

    def _open(self) -> None:
        self.run_id = self._find()
        self._logged, self._status = self._tracker.read_progress(self.run_id)

    def try_to_log(self) -> bool:
        """Call :meth:`log`, and return whether the store has everything. If it refuses, :attr:`refusal` says why."""
        try:
            self.log()
        except TrackingError as error:
            self.refusal = self._tracker.describe_refusal(error)
            return False
        self.refusal = ""
        return True

    def log(self, record: Record | None = None) -> None:
        """Write the epochs that the store lacks and the status. A run that was deleted meanwhile is made again.

        Raises:
            TrackingError: the store is unreachable, or refuses.
        """
        record = record or self._run.record
        try:
            self._log(record)
        except TrackingError as error:
            if not is_lasting(error):
                raise
            self._open()
            self._log(record)

    def _find_scores(self, record: Record) -> dict[str, float]:
        """Return what is not on record: the selection score, as it depends on the protocol, which training does not.

        And what the trainings without each source say of one on all sources, where they are finished.
        """
        held_out = read_held_out_figures(self._run) if isinstance(self._run, Run) else {}
        score = compute_score_after(record.epochs, self._run.config)
        if math.isnan(score):
            score = held_out.get(f"selected/{get_score_metric(self._run.config)}", math.nan)
        return held_out | ({} if math.isnan(score) else {SELECTION_SCORE: score})

    def _log(self, record: Record) -> None:
        if self._status == record.status == "finished":
            return  # all is there, and a metric has one value a step
        if record.final:
            record = dataclasses.replace(record, final={**record.final, **self._find_scores(record)})
        for file in self._run.artifacts if record.status == "finished" else ():
            if file.exists():
                self._tracker.log_artifact(self.run_id, file)
        self._tracker.log_record(self.run_id, record, known_epochs=self._logged)
        self._logged, self._status = max(self._logged, len(record.epochs)), record.status
