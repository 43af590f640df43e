"""Asynchronous successive halving on epochs, which spares the reference points and remembers what it decided."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_spaces.execution.trial import EPOCH, NUMBER, ROLE, SCORE, SECONDS, get_epochs
from tune_spaces.search.journal import Event, Journal


class JournaledASHA(FIFOScheduler):
    """Stops a trial whose score at a rung is below the top 1 / ``reduction_factor`` of the scores recorded there.

    The method is ASHA (Li et al., MLSys 2020, arXiv:1810.05934) in the form of Ray's ``ASHAScheduler``, which stops
    trials rather than pausing them. Decisions are the same as Ray's. Rungs lie at ``grace_epochs`` x
    ``reduction_factor`` ^ k epochs; where epochs are searched, at the same shares of each trial's own number, at which
    learning rates have come down alike. Reference points always run to the end, since all others are compared with
    them. A result that was decided on before an interruption gets the same decision again.
    """

    def __init__(self, journal: Journal, *, epochs: int, grace_epochs: int = 1, reduction_factor: float = 3) -> None:
        """Make a scheduler in the state that ``journal`` tells of; trials end at ``epochs``, or at their own."""
        super().__init__()
        self._journal = journal
        self._epochs = epochs
        self._percentile = (1 - 1 / reduction_factor) * 100
        rungs = (grace_epochs * reduction_factor**k for k in itertools.count())
        self._scores: dict[float, dict[int, float]] = {r: {} for r in itertools.takewhile(lambda r: r < epochs, rungs)}
        """By rung (in epochs of ``epochs``, ascending) and trial number."""
        self._decided: dict[tuple[int, int], str] = {}
        lengths: dict[int, int] = {}
        for event in journal.read_events():
            if event.kind == "suggested":
                lengths[event.trial] = get_epochs(event.settings, epochs)
            if event.kind == "reported" and event.score is not None:
                self._halve(event.trial, event.epoch, event.score, lengths.get(event.trial, epochs))
                self._decided[event.trial, event.epoch] = event.decision

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on, and write the decision down first."""
        number, epoch, score = trial.config[NUMBER], result[EPOCH], result[SCORE]
        if (number, epoch) in self._decided:
            return self._decided[number, epoch]
        epochs = get_epochs(trial.config, self._epochs)
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
        for rung, scores in reversed(self._scores.items()):
            if epoch * self._epochs >= rung * epochs and number not in scores:
                if scores and score < np.nanpercentile(list(scores.values()), self._percentile):
                    decision = TrialScheduler.STOP
                scores[number] = score
                break
        return decision
