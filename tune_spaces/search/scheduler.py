"""Ray Tune's ASHA on epochs, which spares the reference points and remembers what it decided."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from tune_spaces.search.journal import Event, Journal
from tune_spaces.search.searcher import EPOCH, NUMBER, ROLE, SCORE, SECONDS


class JournaledASHA(AsyncHyperBandScheduler):
    """Stops a trial that is below the top 1 / ``reduction_factor`` of its rung.

    Reference points always run to the end, since all others are compared with them. A result that was decided on
    before an interruption gets the same decision again.
    """

    def __init__(self, journal: Journal, *, epochs: int, grace_epochs: int = 1, reduction_factor: float = 3) -> None:
        """Make a scheduler in the state that ``journal`` tells of; trials end at ``epochs``."""
        super().__init__(
            time_attr=EPOCH,
            metric=SCORE,
            mode="max",
            max_t=epochs,
            grace_period=min(grace_epochs, epochs),
            reduction_factor=reduction_factor,
        )
        self._journal = journal
        self._decided: dict[tuple[int, int], str] = {}
        for event in journal.events():
            if event.kind == "reported":
                self._brackets[0].on_result(_numbered(event.trial), event.epoch, event.score)
                self._decided[event.trial, event.epoch] = event.decision

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on, and write the decision down first."""
        number, epoch, score = trial.config[NUMBER], result[EPOCH], result[SCORE]
        if (number, epoch) in self._decided:
            return self._decided[number, epoch]
        decision: str = self._brackets[0].on_result(_numbered(number), epoch, score)
        if epoch >= self._max_t:
            decision = TrialScheduler.STOP
        elif trial.config[ROLE] != "suggested":
            decision = TrialScheduler.CONTINUE
        self._decided[number, epoch] = decision
        seconds = result.get(SECONDS, 0.0)
        self._journal.append(Event("reported", number, epoch=epoch, score=score, decision=decision, seconds=seconds))
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forget a trial; its scores stay in the rungs as they were decided on."""
        self._trial_info.pop(trial.trial_id, None)


def _numbered(number: int) -> SimpleNamespace:
    """Stand for a trial in the rungs by its number; Tune's own id is another one after an interruption."""
    return SimpleNamespace(trial_id=number)
