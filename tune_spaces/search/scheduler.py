"""Asynchronous successive halving on epochs, which spares the reference points and remembers what it decided."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_spaces.execution.trial import EPOCH, NUMBER, ROLE, SCORE, SECONDS, get_epochs
from tune_spaces.search.journal import Event, Journal


@dataclass(frozen=True)
class Rungs:
    """Where trials are compared: at ``grace_epochs`` x ``reduction_factor`` ^ k of ``epochs`` epochs.

    A trial whose own number of epochs is another one is compared at the same shares of it, at which learning rates have
    come down alike: at its first epoch at or beyond each.
    """

    epochs: int
    """Of a trial whose settings do not say otherwise."""
    grace_epochs: int = 1
    reduction_factor: float = 3

    @property
    def places(self) -> tuple[float, ...]:
        """The rungs in epochs of ``epochs``, ascending."""
        places = (self.grace_epochs * self.reduction_factor**k for k in itertools.count())
        return tuple(itertools.takewhile(lambda place: place < self.epochs, places))

    def list_reached(self, epoch: int, own: int) -> list[float]:
        """Return the rungs that a trial of ``own`` epochs has reached after ``epoch`` of them, ascending."""
        return [place for place in self.places if epoch * self.epochs >= place * own]


class JournaledASHA(FIFOScheduler):
    """Stops a trial whose score at a rung is below the top 1 / ``reduction_factor`` of the scores recorded there.

    The method is ASHA (Li et al., MLSys 2020, arXiv:1810.05934) in the form of Ray's ``ASHAScheduler``, which stops
    trials rather than pausing them. Decisions are the same as Ray's where all trials have as many epochs. Reference
    points always run to the end, since all others are compared with them. A result that was decided on before an
    interruption gets the same decision again.
    """

    def __init__(self, journal: Journal, rungs: Rungs) -> None:
        """Make a scheduler in the state that ``journal`` tells of."""
        super().__init__()
        self._journal = journal
        self._rungs = rungs
        self._percentile = (1 - 1 / rungs.reduction_factor) * 100
        self._scores: dict[float, dict[int, float]] = {place: {} for place in rungs.places}
        """By rung and trial number."""
        self._decided: dict[tuple[int, int], str] = {}
        lengths: dict[int, int] = {}
        for event in journal.read_events():
            if event.kind == "suggested":
                lengths[event.trial] = get_epochs(event.settings, rungs.epochs)
            if event.kind == "reported" and event.score is not None:
                self._halve(event.trial, event.epoch, event.score, lengths.get(event.trial, rungs.epochs))
                self._decided[event.trial, event.epoch] = event.decision

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on, and write the decision down first."""
        number, epoch, score = trial.config[NUMBER], result[EPOCH], result[SCORE]
        if (number, epoch) in self._decided:
            return self._decided[number, epoch]
        epochs = get_epochs(trial.config, self._rungs.epochs)
        decision = self._halve(number, epoch, score, epochs)
        if epoch >= epochs:
            decision = TrialScheduler.STOP
        elif trial.config[ROLE] != "suggested":
            decision = TrialScheduler.CONTINUE
        self._decided[number, epoch] = decision
        seconds = result.get(SECONDS, 0.0)
        self._journal.append(Event("reported", number, epoch=epoch, score=score, decision=decision, seconds=seconds))
        return decision

    def _halve(self, number: int, epoch: int, score: float, epochs: int) -> str:
        """Record a score at the highest rung that a trial has newly reached, and compare it with those before it.

        The trial's own end is at ``epochs``.
        """
        decision: str = TrialScheduler.CONTINUE
        for rung in reversed(self._rungs.list_reached(epoch, epochs)):
            scores = self._scores[rung]
            if number not in scores:
                if scores and score < np.nanpercentile(list(scores.values()), self._percentile):
                    decision = TrialScheduler.STOP
                scores[number] = score
                break
        return decision
