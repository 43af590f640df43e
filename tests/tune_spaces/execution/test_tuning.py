"""Ctrl-C amid trials: Tune ends them, and a person is told so at once."""

from __future__ import annotations

import signal

import pytest

from csg.messages.interrupts import ANSWER, answer_interrupts
from tune_spaces.execution.tuning import InterruptAnswer


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


def test_after_the_trials_ctrl_c_is_not_tunes_any_more() -> None:
    with answer_interrupts():
        before = signal.getsignal(signal.SIGINT)
        answer = InterruptAnswer()
        signal.signal(signal.SIGINT, lambda *_: None)
        answer.setup()
        answer.retire()
        assert signal.getsignal(signal.SIGINT) is before
