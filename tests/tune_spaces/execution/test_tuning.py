"""What the driver hears from Tune: of a death twice, which loses no trial; and Ctrl-C, which ends all at once."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from csg.messages.interrupts import ANSWER, answer_interrupts
from tune_spaces.execution.callbacks import DriverCallback, InterruptAnswer, Losses
from tune_spaces.execution.source import Suggestions, TrialSource
from tune_spaces.execution.trial import NUMBER


def test_ctrl_c_amid_trials_is_answered_and_reaches_tune(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []
    with answer_interrupts():
        before = signal.getsignal(signal.SIGINT)
        answer = InterruptAnswer()

        def end_trials(number: int, _: object) -> None:
            """Do what Tune's own handler does."""
            heard.append(number)
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, end_trials)
        answer.setup()
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT] and capsys.readouterr().out.splitlines() == [ANSWER]
        second = signal.getsignal(signal.SIGINT)
        answer.retire()
        assert signal.getsignal(signal.SIGINT) is second is not before, "the next one leaves at once"


class Taking(TrialSource):
    """Keeps what it takes back."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    @property
    def is_over(self) -> bool:
        return not self.taken

    def take_back(self, number: int) -> None:
        self.taken.append(number)


class Hearing(DriverCallback):
    """Keeps what it hears of."""

    def __init__(self) -> None:
        self.lost: list[int] = []

    def on_trial_lost(self, trial: Any) -> None:
        self.lost.append(trial.config[NUMBER])


@pytest.mark.parametrize("deaths_before", [0, 1, 2])
def test_a_death_that_tune_hears_of_twice_loses_no_trial(deaths_before: int) -> None:
    source, hearing, trial = Taking(), Hearing(), SimpleNamespace(trial_id="a", config={NUMBER: 7})
    losses = Losses(source, [hearing])
    for iteration in range(deaths_before):
        losses.on_trial_recover(iteration=iteration, trial=trial)
    losses.on_trial_recover(iteration=9, trial=trial)
    losses.on_trial_error(iteration=9, trial=trial)
    assert (source.taken, hearing.lost) == ([7], [])
    assert not Suggestions(source, at_once=1).is_finished()


def test_a_trial_whose_process_dies_once_too_often_is_lost_whatever_else_was_restarted_meanwhile() -> None:
    source, hearing = Taking(), Hearing()
    trial, other = (SimpleNamespace(trial_id=name, config={NUMBER: 7}) for name in "ab")
    losses = Losses(source, [hearing])
    losses.on_trial_recover(iteration=8, trial=trial)
    losses.on_trial_error(iteration=9, trial=trial)
    losses.on_trial_recover(iteration=10, trial=other)
    losses.on_trial_error(iteration=10, trial=trial)
    assert (source.taken, hearing.lost) == ([], [7, 7])
    suggestions = Suggestions(source, at_once=1)
    assert suggestions.is_finished()
    source.take_back(7)
    assert not suggestions.is_finished()
    suggestions.set_finished()
    assert suggestions.is_finished(), "the time is used up"


def test_after_the_trials_ctrl_c_is_not_tunes_any_more() -> None:
    with answer_interrupts():
        before = signal.getsignal(signal.SIGINT)
        answer = InterruptAnswer()
        signal.signal(signal.SIGINT, lambda *_: None)
        answer.setup()
        answer.retire()
        assert signal.getsignal(signal.SIGINT) is before
