"""A search's one writer to MLflow: a Tune callback in the driver that passes on what the runs' records hold."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ray.tune import Callback

from csg.data import load_pair
from csg.tracking import RunTracker, Tracker
from csg.tracking.tags import ROLE_TAG, TRIAL_TAG
from csg.training.record import Status
from csg.training.run import Run
from tune_spaces.search.journal import Event
from tune_spaces.search.searcher import EPOCH, FAILED, NUMBER, ROLE, ending_of
from tune_spaces.search.trial import trial_settings

ROLE_NAMES = {"source_only": "source only", "default": "default setting"}
"""Names of the reference points, for people."""
UNKNOWN_ERROR = "the trial's process died; see tune.log"
"""What is said of a trial whose end nobody saw."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the search has seen of a trial."""

    trial_config: Mapping[str, Any]
    epoch: int
    """The last epoch that was reported."""
    status: Status
    error: str


class MlflowRecorder(Callback):
    """Opens a child run per trial, logs every epoch once, and notes how the trial ended.

    A store that is away for a while stops nothing: what it missed is written as soon as it answers again.
    """

    def __init__(self, tracker: Tracker, *, parent: str, base: Mapping[str, Any], epochs: int) -> None:
        """Record below the run ``parent``; ``base`` holds what is not searched, trials have ``epochs``."""
        self._where = (tracker.uri, tracker.experiment)
        self._tracker: Tracker | None = tracker
        self._parent = parent
        self._base = base
        self._epochs = epochs
        self._tracked: dict[int, RunTracker] = {}
        self._behind: dict[int, Seen] = {}
        self.refusal = ""
        """What the store refused for good, and what to do; empty where it took all or is away."""
        self.lost: dict[int, str] = {}
        """By trial, what ended its process once too often."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tracker": None, "_tracked": {}}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the trial's run."""
        self._record(trial.config, 0, "running")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Log the epoch, and the trial's end if that was decided."""
        ending = ending_of(result, self._epochs) or "running"
        self._record(trial.config, result[EPOCH], ending, error=result.get(FAILED, ""))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial whose process died too often; its training state stays, to go on from."""
        error = _reason(trial.error_file)
        self.lost[trial.config[NUMBER]] = error
        self._run(trial.config).close("failed", error)
        self._record(trial.config, self._epochs, "failed", error=error)

    def note_all(self, events: Sequence[Event]) -> bool:
        """Bring runs and store up to the journal, now that none is under way; trials not ended are interrupted or lost.

        Returns:
            Whether the store has everything.
        """
        ended = {event.trial: event for event in events if event.kind == "ended"}
        known = {run.tags.get(TRIAL_TAG): run.status for run in self._store().read_children(self._parent)}
        for event in events:
            if event.kind != "suggested":
                continue
            ending = ended.get(event.trial)
            lost = event.trial in self.lost
            status: Status = cast(Status, ending.decision) if ending else "failed" if lost else "interrupted"
            trial_config = {**event.settings, NUMBER: event.trial, ROLE: event.role}
            run = self._run(trial_config)
            if run.record.status == "running" and status != "finished":
                run.close(status)
            if known.get(str(event.trial)) != status:
                self._record(trial_config, ending.epoch if ending and ending.epoch else self._epochs, status)
        return self.catch_up()

    def _store(self) -> Tracker:
        """Return the store, reached anew after unpickling."""
        if self._tracker is None:
            self._tracker = Tracker(*self._where)
        return self._tracker

    def _record(self, trial_config: Mapping[str, Any], epoch: int, status: Status, *, error: str = "") -> None:
        self._behind[trial_config[NUMBER]] = Seen(trial_config, epoch, status, error)
        self.catch_up()

    def _run(self, trial_config: Mapping[str, Any]) -> Run:
        config = trial_settings(self._base, trial_config)
        return Run(config, load_pair(config.data))

    def catch_up(self) -> bool:
        """Write what the store misses, as long as it answers; return whether it has everything."""
        self.refusal = self._store().write_all(self._behind, self._write)
        return not self._behind

    def _write(self, number: int, seen: Seen) -> None:
        run = self._run(seen.trial_config)
        if number not in self._tracked:
            role = seen.trial_config[ROLE]
            name = f"{number:03d} {ROLE_NAMES.get(role, run.config.method.summary)}"
            tags = {TRIAL_TAG: str(number), ROLE_TAG: role}
            self._tracked[number] = RunTracker(self._store(), run, parent=self._parent, name=name, tags=tags)
        # What this search has seen of the run: another one may have trained it further.
        record = dataclasses.replace(
            run.record,
            epochs=run.record.epochs[: seen.epoch],
            final=run.record.final if seen.status == "finished" else {},
            status=seen.status,
            error=(run.record.error or seen.error or UNKNOWN_ERROR) if seen.status == "failed" else "",
        )
        self._tracked[number].log(record)
        if seen.status != "running":
            del self._tracked[number]


def _reason(error_file: str | None) -> str:
    """Say what ended a trial's process, by what Tune wrote about that."""
    text = Path(error_file).read_text(errors="replace") if error_file and Path(error_file).exists() else ""
    raised = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", text, re.MULTILINE)
    return f"the trial's process died ({raised[-1][:200]})" if raised else UNKNOWN_ERROR
