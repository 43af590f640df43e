"""Ray Tune as searches and ablations run it: silent, restarting lost processes, ended cleanly by a signal."""

from __future__ import annotations

import functools
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

from ray import tune
from ray.tune import TuneError
from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault, walk_causes
from csg.messages.interrupts import announce_stop
from csg.training.program import get_program_digest
from csg.workers.slots import list_resources
from tune_spaces.execution.trial import NUMBER, configure_trial

MAX_RETRIES: Final = 2
"""Restarts of a trial whose process died, or ran out of memory; it goes on from its checkpoint."""
TUNES_LOGGERS: Final = ("ray.tune", "ray.air")


class DriverCallback(tune.Callback):
    """A callback that stays in the driver: Tune pickles its callbacks, but nobody reads that."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_error(self, *, trial: Any, **info: Any) -> None:
        """Hear of a trial that Tune has given up."""
        if not _has_restarts(trial):
            self.on_trial_lost(trial)

    def on_trial_lost(self, trial: Any) -> None:
        """Hear of a trial whose process died too often."""


def _has_restarts(trial: Any) -> bool:
    """Whether Tune has given a trial up that it may restart.

    It does so where the process of a trial that has ended, which was to train this one, died in between: that death
    reaches Tune twice, and at the second time the trial is not running.
    """
    return bool(trial.num_failures <= MAX_RETRIES)


class InterruptAnswer(DriverCallback):
    """Has Ctrl-C answered on the console before Tune, which writes its answer to its log, ends the trials."""

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        self._tunes = self._before
        self._own = self._answer

    def setup(self, **info: Any) -> None:
        """Take the place of Tune's own handler, which stands by now."""
        self._tunes = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._own)

    def retire(self) -> None:
        """Restore the handler from before the trials, which Tune does only after Ctrl-C."""
        if signal.getsignal(signal.SIGINT) is self._own:
            signal.signal(signal.SIGINT, self._before)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if callable(self._tunes):
            self._tunes(number, frame)  # first, since it restores the handler from before the trials
        announce_stop()


class TrialSource(Protocol):
    """A Tune searcher that knows its end, and keeps what ends the driver: Tune takes its errors for a trial's."""

    broken: UserError | OutsideFaultError | None

    @property
    def is_over(self) -> bool:
        """Whether there is no trial to suggest any more."""

    def take_back(self, number: int) -> None:
        """Suggest a trial again, before all others."""


class _Suggestions(SearchGenerator):
    """What a source suggests: over as long as the source says so, since a trial may be suggested again."""

    def __init__(self, source: TrialSource, *, at_once: int) -> None:
        assert isinstance(source, Searcher)
        super().__init__(ConcurrencyLimiter(source, at_once))
        self._source = source
        self._is_stopped = False

    def set_finished(self) -> None:
        """Suggest nothing any more; Tune calls this when it is interrupted."""
        self._is_stopped = True

    def is_finished(self) -> bool:
        """Return whether no trial will be suggested, unless one is taken back."""
        return self._is_stopped or self._source.is_over


class _TakeBack(DriverCallback):
    """Has the source suggest a trial again that Tune gave up although it may restart it."""

    def __init__(self, source: TrialSource) -> None:
        self._source = source

    def on_trial_error(self, *, trial: Any, **info: Any) -> None:
        """Take back a trial that has restarts left."""
        if _has_restarts(trial):
            self._source.take_back(trial.config[NUMBER])


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
        count: trials at most.
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
            search_alg=_Suggestions(source, at_once=count),
            scheduler=scheduler,
            time_budget_s=60 * minutes or None,
            reuse_actors=True,
            trial_dirname_creator=name_folder,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            callbacks=[answer, _TakeBack(source), *callbacks],
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
