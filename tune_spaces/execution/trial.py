"""One trial of a search or an ablation: a training run in a process of its own, and what it and the driver exchange."""

from __future__ import annotations

import socket
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from ray import tune

from csg.config import Config
from csg.data import load_pair
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault, is_process_fault
from csg.parsing import build_config, overlay
from csg.training.loop import EpochReport
from csg.training.mean_run import MeanRun, open_trial_run
from csg.training.program import get_program_digest
from csg.training.run import Run
from csg.workers.run import train_run

NUMBER: Final = "number"
"""Key of a trial's Tune configuration: its place in the search or the ablation, from 0."""
ROLE: Final = "role"
"""Key of a trial's Tune configuration: what the trial is there for."""
CONFIG_ID: Final = "config_id"
"""Key of a trial's Tune configuration: the configuration's identity on the driver's machine."""
EPOCH: Final = "epoch"
"""Key of a result: epochs done."""
SCORE: Final = "score"
"""Key of a result: the selection score."""
SECONDS: Final = "seconds"
"""Key of a result: what the epoch's training and measurements took."""
FAILED: Final = "failed"
"""Key of a result: why the configuration failed."""
GONE: Final = "gone"
"""Key of a result: what outside the configuration ended the trial, such as a full disk or a store that is away."""
OUTDATED: Final = "outdated"
"""Key of a result: whether the process has other sources than the driver, which would not find what it trains."""
Ending = Literal["finished", "stopped", "failed"]


def get_ending(result: Mapping[str, Any], epochs: int) -> Ending | None:
    """Return how a trial ended with a result that Tune has decided on, or None where it goes on, now or later."""
    if result.get(FAILED):
        return "failed"
    if result.get(GONE) or result.get(OUTDATED) or not result.get("done"):
        return None
    return "finished" if result[EPOCH] == epochs else "stopped"


def get_epochs(settings: Mapping[str, Any], usual: int) -> int:
    """Return how many epochs a trial trains at most: its own number where that is searched, else the ``usual`` one."""
    return int(settings.get("train.epochs", usual))


def get_settings(trial_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a trial's Tune configuration."""
    return {name: value for name, value in trial_config.items() if name not in (NUMBER, ROLE, CONFIG_ID)}


def configure_trial(base: Mapping[str, Any], trial_config: Mapping[str, Any]) -> Config:
    """Return the configuration of a trial: its own settings over those that all trials share."""
    return build_config(overlay(base, get_settings(trial_config)))


def open_run(base: Mapping[str, Any], trial_config: Mapping[str, Any], fingerprint: str) -> Run | MeanRun:
    """Open the run that the driver means, on this machine's data, weights and method.

    A run on other data would have another identity, and the driver would never find its record.

    Args:
        base: the settings that all trials share.
        trial_config: the trial's Tune configuration.
        fingerprint: of the driver's data; empty where the driver has not loaded them.

    Raises:
        UserError: the settings cannot be used, and the driver does not know better.
        OutsideFaultError: this machine lacks what the run reads, or has another than the driver.
    """
    try:
        config = configure_trial(base, trial_config)
        open_it = open_trial_run if ROLE in trial_config else Run  # a cell of an ablation is one training
        run = open_it(config, load_pair(config.data))
    except UserError as error:
        if not fingerprint:
            raise
        raise OutsideFaultError(f"{error}; mend that") from error
    if fingerprint not in ("", run.pair.fingerprint):
        raise OutsideFaultError(
            f"this node has other data than the driver: fingerprint {run.pair.fingerprint}, expected {fingerprint}; "
            "put the same on every node"
        )
    expected = trial_config.get(CONFIG_ID, "")
    if expected not in ("", run.identity.config_id):
        raise OutsideFaultError(
            "this node has other weights, another method file or another file that a setting names than the driver: "
            f"configuration {run.identity.config_id}, expected {expected}; put the same on every node"
        )
    return run


class TrainingTrial(tune.Trainable):
    """Trains one configuration, an epoch a step; actors are reused from trial to trial.

    All other metrics stay in the run's record, which the driver passes on to MLflow. target/test is measured after the
    last epoch, into the record only.
    """

    def setup(self, config: dict[str, Any], *, base: Mapping[str, Any], program: str, data: Mapping[int, str]) -> None:
        """Start the first trial of this process.

        Args:
            config: the trial's Tune configuration.
            base: the settings that all trials share.
            program: digest of the driver's sources.
            data: fingerprints of the driver's data, by trial number, where the driver has loaded them.
        """
        self._is_outdated = get_program_digest() != program
        self._base = base
        self._data = data
        self._run: Run | MeanRun | None = None
        self._reports: Generator[EpochReport] = (report for report in list[EpochReport]())
        self._trial_config: Mapping[str, Any] = config

    def _open(self) -> Run | MeanRun:
        """Open the trial that was given to this process.

        Raises:
            UserError, OutsideFaultError: see :func:`open_run`.
        """
        fingerprint = self._data.get(self._trial_config[NUMBER], "")
        run = open_run(self._base, self._trial_config, fingerprint).create()
        self._known = len(run.record.epochs)
        self._reports = train_run(run) if isinstance(run, Run) else run.train()
        return run

    def step(self) -> dict[str, Any]:
        """Train one epoch, or return one that is on record.

        A failure of the configuration is put on record and ends the trial. A fault outside it, such as a full disk or a
        store that is away, leaves the trial in flight and ends the driver. Where a new process may do better, the error
        is raised, and Tune starts a new process. A process with other sources than the driver leaves the trial alone.
        """
        if self._is_outdated:
            return {EPOCH: 0, OUTDATED: True, "done": True}
        try:
            return self._step()
        except Exception as error:
            fault = find_outside_fault(error)
            if fault is None:
                raise
            with suppress(OutsideFaultError, OSError):
                self._reports.close()
            epochs, self._run = self._count_epochs(), None
            return {EPOCH: epochs, GONE: f"node {socket.gethostname()}: {fault}", "done": True}

    def _step(self) -> dict[str, Any]:
        try:
            self._run = self._run or self._open()
            report = next(self._reports)
            final = self._run.finish() if report.epoch == self._run.config.train.epochs else {}
        except Exception as error:
            if find_outside_fault(error) is not None or is_process_fault(error):
                raise
            self._reports.close()
            if self._run is not None:
                self._run.fail(error)
            return {EPOCH: self._count_epochs(), FAILED: f"{type(error).__name__}: {error}", "done": True}
        spent = {**report.metrics, **final} if report.epoch > self._known else {}
        seconds = sum(value for name, value in spent.items() if name.endswith("/seconds"))
        return {EPOCH: report.epoch, SCORE: self._run.score(report.epoch), SECONDS: seconds}

    def _count_epochs(self) -> int:
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
