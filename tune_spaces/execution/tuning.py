"""Ray Tune as searches and ablations run it: silent, restarting lost processes, ended cleanly by a signal."""

from __future__ import annotations

import functools
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ray import tune
from ray.tune import TuneError

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault, walk_causes
from csg.training.program import get_program_digest
from csg.workers.slots import list_resources
from tune_spaces.execution.callbacks import InterruptAnswer, Losses
from tune_spaces.execution.source import Suggestions, TrialSource
from tune_spaces.execution.trial import NUMBER, configure_trial

MAX_RETRIES: Final = 2
"""Restarts of a trial whose process died, or ran out of memory; it goes on from its checkpoint."""
TUNES_LOGGERS: Final = ("ray.tune", "ray.air")


def run_trials(
    trainable: type[tune.Trainable],
    source: TrialSource,
    scheduler: tune.schedulers.TrialScheduler,
    callbacks: Sequence[tune.Callback],
    *,
    count: int,
    folder: Path,
    base: Mapping[str, Any],
    fingerprints: Mapping[int, str],
    minutes: float = 0.0,
) -> None:
    """Run Ray Tune to the end, or to an interruption, after which the same trials can go on.

    Args:
        trainable: trains a trial.
        source: suggests the trials.
        scheduler: decides after each epoch whether a trial goes on.
        callbacks: hear of every event.
        count: how many trials the source has.
        folder: where Tune keeps its own files and its log.
        base: the settings that all trials share.
        fingerprints: of the data that the driver has loaded, by trial number.
        minutes: after which no trial goes on; 0 for no limit.

    Raises:
        UserError: another driver runs the same study.
        OutsideFaultError: the store that holds the results does not answer any more, a disk is full, or the like.
    """
    answer = InterruptAnswer()
    trained = tune.with_parameters(trainable, base=dict(base), program=get_program_digest(), data=dict(fingerprints))
    tuner = tune.Tuner(
        tune.with_resources(trained, functools.partial(place_trial, dict(base))),
        tune_config=tune.TuneConfig(
            # At once as many as there are, so that one that waits for a node holds up no other; the source limits them.
            search_alg=Suggestions(source, at_once=count),
            scheduler=scheduler,
            time_budget_s=60 * minutes or None,
            reuse_actors=True,
            trial_dirname_creator=name_folder,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            callbacks=[answer, Losses(source, callbacks), *callbacks],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with log_to(folder / "tune.log"):
            tuner.fit()
    except (TuneError, OSError) as error:
        raise find_own_error(error) from None
    finally:
        answer.retire()
        signal.signal(signal.SIGTERM, previous)
    if source.broken is not None:
        raise source.broken


def _interrupt(*_: object) -> None:
    """Do on SIGTERM what Ctrl-C does, also in the background of a shell, where SIGINT is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def place_trial(base: Mapping[str, Any], trial_config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Return what a trial's own process takes from Ray."""
    resources = {"cpu": "CPU", "gpu": "GPU"}
    taken = list_resources(configure_trial(base, trial_config))
    return tune.PlacementGroupFactory([{resources.get(name, name): share for name, share in taken.items()}])


def name_folder(trial: Any) -> str:
    """Name Tune's own folder of a trial."""
    return f"trial-{trial.config[NUMBER]:03d}-{trial.trial_id}"


def find_own_error(error: BaseException) -> BaseException:
    """Return this program's error that Tune, in whose callbacks it arose, has wrapped in one of its own."""
    own = (each for each in walk_causes(error) if isinstance(each, (UserError, OutsideFaultError)))
    return next(own, None) or find_outside_fault(error) or error


class _TuneLog(logging.FileHandler):
    """A log file that a full disk leaves without some lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing on the console."""


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Have Tune write to a file instead of the console while the block lasts."""
    handler = _TuneLog(path)
    before = [(logger, logger.handlers, logger.propagate) for logger in map(logging.getLogger, TUNES_LOGGERS)]
    for logger, *_ in before:
        logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()
