"""One trial: a training run in the trial's own process, which tells Tune its selection score and nothing else."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from ray import tune

from csg.config import Config
from csg.data import load_pair
from csg.parsing import config_from_flat, overlay
from csg.training.loop import EpochReport
from csg.training.run import Run, source_digest
from tune_spaces.searcher import EPOCH, FAILED, SCORE, SECONDS, settings_of


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

    def setup(self, config: dict[str, Any], *, base: Mapping[str, Any], program: str) -> None:
        """Start the first trial of this process.

        Args:
            config: the searched settings.
            base: the settings that are not searched.
            program: digest of the driver's sources.

        Raises:
            RuntimeError: this process has other sources, so that its runs would not be the search's.
        """
        if source_digest() != program:
            raise RuntimeError("the sources of csg changed while the search was running; start it again")
        self._base = base
        self._reports = no_reports()
        self._open(config)

    def _open(self, trial_config: Mapping[str, Any]) -> None:
        """Take up a trial; the one before it may have been stopped, and its workers must know."""
        self._reports.close()
        config = trial_settings(self._base, trial_config)
        self._run = Run(config, load_pair(config.data)).create()
        self._known = len(self._run.record.epochs)
        self._reports = self._run.epochs()

    def step(self) -> dict[str, Any]:
        """Train one epoch, or return one on record. A failure is put on record and ends the trial, not the process."""
        config = self._run.config
        try:
            report = next(self._reports)
            final = self._run.finish() if report.epoch == config.train.epochs else {}
        except Exception as error:  # whatever it was, it is this trial's, and the search goes on
            self._run.fail(error)
            return {EPOCH: len(self._run.record.epochs), FAILED: True, "done": True}
        spent = {**report.metrics, **final} if report.epoch > self._known else {}
        seconds = sum(value for name, value in spent.items() if name.endswith("/seconds"))
        return {EPOCH: report.epoch, SCORE: self._run.score(report.epoch), SECONDS: seconds}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial in the same process."""
        self._open(new_config)
        return True

    def cleanup(self) -> None:
        """Let the training state go."""
        self._reports.close()
