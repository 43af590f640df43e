"""One trial: a training run in the trial's own process, which tells Tune its selection score and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

from ray import tune

from csg.config import Config
from csg.messages.faults import OutsideFaultError, find_outside_fault, is_process_fault
from csg.parsing import config_from_flat, overlay
from csg.training.loop import EpochReport
from csg.training.program import source_digest
from csg.training.run import Run
from csg.workers.run import train_run
from tune_spaces.execution.opening import open_run
from tune_spaces.search.searcher import CONFIG_ID, EPOCH, FAILED, GONE, SCORE, SECONDS, settings_of


def trial_settings(base: Mapping[str, Any], trial_config: Mapping[str, Any]) -> Config:
    """Return the configuration of a trial: the searched settings over those that are not searched."""
    return config_from_flat(overlay(base, settings_of(trial_config)))


def no_reports() -> Generator[EpochReport]:
    """Yield nothing."""
    yield from ()


class TrainingTrial(tune.Trainable):
    """Trains one configuration, an epoch a step; actors are reused from trial to trial.

    All other metrics stay in the run's record, which the search's driver passes on to MLflow. target/test is measured
    after the last epoch, into the record only.
    """

    def setup(self, config: dict[str, Any], *, base: Mapping[str, Any], program: str, data: str) -> None:
        """Start the first trial of this process.

        Args:
            config: the searched settings.
            base: the settings that are not searched.
            program: digest of the driver's sources.
            data: fingerprint of the driver's data; empty where trials differ in theirs.

        Raises:
            RuntimeError: this process has other sources, so that its runs would not be the search's.
        """
        if source_digest() != program:
            raise RuntimeError("the sources of csg changed while the search was running; start it again")
        self._base = base
        self._data = data
        self._run: Run | None = None
        self._reports = no_reports()
        self._trial_config: Mapping[str, Any] = config

    def _open(self) -> Run:
        """Take up a trial that was given to this process.

        Raises:
            UserError, OutsideFaultError: see :func:`tune_spaces.execution.opening.open_run`.
        """
        config_id = self._trial_config.get(CONFIG_ID, "")
        run = open_run(self._base, settings_of(self._trial_config), config_id=config_id, data=self._data).create()
        self._known = len(run.record.epochs)
        self._reports = train_run(run)
        return run

    def step(self) -> dict[str, Any]:
        """Train one epoch, or return one on record. A failure is put on record and ends the trial, not the process.

        What is outside the configuration, such as a full disk or a store that is gone, is no failure: it leaves the
        trial in flight, and ends the search. Where a new process may do better, this one ends.
        """
        try:
            return self._step()
        except Exception as error:
            fault = find_outside_fault(error)
            if fault is None:
                raise
            with suppress(OutsideFaultError, OSError):
                self._reports.close()
            epochs, self._run = self._epochs(), None
            return {EPOCH: epochs, GONE: f"node {socket.gethostname()}: {fault}", "done": True}

    def _step(self) -> dict[str, Any]:
        try:
            self._run = self._run or self._open()
            report = next(self._reports)
            final = self._run.finish() if report.epoch == self._run.config.train.epochs else {}
        except Exception as error:
            if find_outside_fault(error) is not None or is_process_fault(error):
                raise
            self._reports.close()  # whatever else it was, it is this trial's, and the search goes on
            if self._run is not None:
                self._run.fail(error)
            return {EPOCH: self._epochs(), FAILED: f"{type(error).__name__}: {error}", "done": True}
        spent = {**report.metrics, **final} if report.epoch > self._known else {}
        seconds = sum(value for name, value in spent.items() if name.endswith("/seconds"))
        return {EPOCH: report.epoch, SCORE: self._run.score(report.epoch), SECONDS: seconds}

    def _epochs(self) -> int:
        return 0 if self._run is None else len(self._run.record.epochs)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leave the trial before, which the scheduler may have stopped, and take the next in the same process."""
        with suppress(OutsideFaultError, OSError):  # no fault of the next trial's; the driver closes what is left open
            self._reports.close()
            if self._run is not None and self._run.record.status == "running":
                self._run.close("stopped")
        self._run, self._trial_config = None, new_config
        return True

    def cleanup(self) -> None:
        """Let the training state go."""
        self._reports.close()
