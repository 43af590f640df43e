"""What the driver hears of its trials from Ray Tune, and how it answers Ctrl-C meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any

from ray import tune

from csg.messages.interrupts import announce_stop
from tune_spaces.execution.source import TrialSource
from tune_spaces.execution.trial import NUMBER


class DriverCallback(tune.Callback):
    """A callback that stays in the driver: Tune pickles its callbacks, but nobody reads that."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_lost(self, trial: Any) -> None:
        """Hear of a trial whose process died too often; see :class:`Losses`."""


class Losses(DriverCallback):
    """Tells trials whose processes died too often from those that Tune gives up after a death which it heard of twice.

    A trial may be given the process of one that has ended. Where that died in between, it fails the trial as a process
    and as its first task, in one of Tune's steps: Tune restarts the trial at the first and gives it up at the second,
    when it does not run. The source takes it back then; as a new trial to Tune, all restarts are before it.
    """

    def __init__(self, source: TrialSource, callbacks: Iterable[tune.Callback]) -> None:
        """Have ``source`` take back trials, and tell ``callbacks`` of those that are lost."""
        self._source = source
        self._told = [each for each in callbacks if isinstance(each, DriverCallback)]
        self._recovered = ("", -1)

    def on_trial_recover(self, *, iteration: int, trial: Any, **info: Any) -> None:
        """Note in which of Tune's steps a trial was restarted."""
        self._recovered = trial.trial_id, iteration

    def on_trial_error(self, *, iteration: int, trial: Any, **info: Any) -> None:
        """Take back a trial that was restarted in the same step, or say that it is lost."""
        if self._recovered == (trial.trial_id, iteration):
            self._source.take_back(trial.config[NUMBER])
            return
        for callback in self._told:
            callback.on_trial_lost(trial)


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
