"""Writes the runs of a search or an ablation to MLflow while they run: a Tune callback in the driver."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from csg.tracking import RunTracker, Tracker
from csg.tracking.tags import Tag
from csg.training.mean_run import MeanRun
from csg.training.record import Status
from csg.training.run import Run
from tune_spaces.execution.callbacks import DriverCallback
from tune_spaces.execution.trial import EPOCH, FAILED, NUMBER, OUTDATED, get_ending

UNKNOWN_ERROR = "the trial's process died; see tune.log"
"""The error of a trial whose process left none."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A trial's run, and how MLflow shows it."""

    run: Run | MeanRun
    name: str
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a trial has come; another command may have trained its run further."""

    entry: Entry
    status: Status
    epoch: int | None = None
    """The last epoch that the driver has seen; None for all that are on record."""
    error: str = ""


class MlflowRecorder(DriverCallback):
    """Opens a child run per trial, logs every epoch once, and notes how the trial ended.

    While the store is away, trials go on. What the store missed is written as soon as it answers again.
    """

    def __init__(self, tracker: Tracker, *, parent: str, find_entry: Callable[[Mapping[str, Any]], Entry]) -> None:
        """Record below the run ``parent``; ``find_entry`` finds a trial's run by the trial's Tune configuration."""
        self._tracker = tracker
        self._parent = parent
        self._find_entry = find_entry
        self._entries: dict[int, Entry] = {}
        """Of the trials under way: to open a run anew at every epoch would load its data again."""
        self._tracked: dict[int, RunTracker] = {}
        self._behind: dict[int, Progress] = {}
        self.refusal = ""
        """What the store refused for good, and what to do; empty where it took all or is away."""
        self.met_outdated = False
        """Whether a process had other sources of csg than this one."""
        self.lost: dict[int, str] = {}
        """By trial, what ended its process once too often."""

    def on_trial_start(self, *, trial: Any, **info: Any) -> None:
        """Open the trial's run."""
        self._record(trial.config[NUMBER], Progress(self._read_entry(trial), "running", epoch=0))

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Log the epoch, and the trial's end if that was decided."""
        entry = self._read_entry(trial)
        status: Status = get_ending(result, entry.run.config.train.epochs) or "running"
        if result.get(OUTDATED):
            self.met_outdated = True
            status = "interrupted"
            entry.run.close(status)
        if status == "failed" and entry.run.record.status != "failed":  # it failed before its process opened the run
            entry.run.close("failed", result[FAILED])
        self._record(trial.config[NUMBER], Progress(entry, status, result[EPOCH], result.get(FAILED, "")))

    def on_trial_lost(self, trial: Any) -> None:
        """Note a trial whose process died too often; its training state stays, to go on from."""
        number, entry, error = trial.config[NUMBER], self._read_entry(trial), _read_reason(trial.error_file)
        self.lost[number] = error
        entry.run.close("failed", error)
        self._record(number, Progress(entry, "failed", error=error))

    def settle(self, progress: Mapping[int, Progress]) -> bool:
        """Bring runs and store up to how far each trial has come, while no process trains any of them.

        Returns:
            Whether the store has everything.
        """
        statuses = {run.tags[Tag.RUN]: run.status for run in self._tracker.read_children(self._parent)}
        for number, each in progress.items():
            run = each.entry.run
            if run.record.status == "running" and each.status != "finished":
                run.close(each.status)
            if number in self._behind or statuses.get(run.identity.name) != each.status:
                self._behind[number] = each
        return self.catch_up()

    def catch_up(self) -> bool:
        """Write what the store misses, as long as it answers; return whether it has everything."""
        self.refusal = self._tracker.write_all(self._behind, self._write)
        return not self._behind

    def _read_entry(self, trial: Any) -> Entry:
        number = trial.config[NUMBER]
        if number in self._entries:
            self._entries[number].run.reread()
        else:
            self._entries[number] = self._find_entry(trial.config)
        return self._entries[number]

    def _record(self, number: int, progress: Progress) -> None:
        self._behind[number] = progress
        if progress.status != "running":
            self._entries.pop(number, None)
        self.catch_up()

    def _write(self, number: int, progress: Progress) -> None:
        entry, failed = progress.entry, progress.status == "failed"
        if number not in self._tracked:
            self._tracked[number] = RunTracker(
                self._tracker, entry.run, parent=self._parent, name=entry.name, tags=entry.tags
            )
        record = entry.run.record
        record = dataclasses.replace(
            record,
            epochs=record.epochs[: progress.epoch],
            final=record.final if progress.status == "finished" else {},
            status=progress.status,
            error=(record.error or progress.error or UNKNOWN_ERROR) if failed else "",
        )
        self._tracked[number].log(record)
        if progress.status != "running":
            del self._tracked[number]


def _read_reason(error_file: str | None) -> str:
    """Return what ended a trial's process, by what Tune wrote about it."""
    text = Path(error_file).read_text(errors="replace") if error_file and Path(error_file).exists() else ""
    raised = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", text, re.MULTILINE)
    return f"the trial's process died ({raised[-1][:200]})" if raised else UNKNOWN_ERROR
