"""Ray Tune's OptunaSearch, with reference points first, pruned trials told as pruned, and a memory on disk."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault
from csg.parsing import config_from_flat, overlay
from csg.training.identity import config_id
from tune_spaces.search.journal import Event, Journal, in_flight
from tune_spaces.spaces.space import Space

NUMBER, ROLE, CONFIG_ID = "number", "role", "config_id"
"""Keys of a trial's Tune configuration that are no settings: its number in the search, what it is there for, and what
its configuration is called on the driver's machine."""
SCORE, EPOCH, SECONDS, FAILED, GONE = "score", "epoch", "seconds", "failed", "gone"
"""All that a trial reports to Tune: the selection score, the epochs done, the time they took, or why it failed, or what
outside its configuration ended it: the store that holds the results is gone, or the disk is full."""
MOST_REPEATS = 50
"""Suggestions in a row that were made before, after which the space counts as exhausted."""
Ending = Literal["finished", "stopped", "failed"]


def ending_of(result: Mapping[str, Any], epochs: int) -> Ending | None:
    """Say how a trial ended with a result that Tune has decided on, or None where it goes on, now or later."""
    if result.get(FAILED):
        return "failed"
    if result.get(GONE) or not result.get("done"):
        return None
    return "finished" if result[EPOCH] == epochs else "stopped"


def settings_of(trial_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a trial's Tune configuration."""
    return {name: value for name, value in trial_config.items() if name not in (NUMBER, ROLE, CONFIG_ID)}


class JournaledOptunaSearch(OptunaSearch):
    """TPE (multivariate, grouped, seeded) over a conditional space.

    Trial 0 is source only, which lies outside the space and is not told to Optuna; trial 1 is the paper's setting. A
    trial that the scheduler stopped is told as PRUNED with its score at every epoch it reached, so that rungs are not
    mixed. A trial that something else ended (a budget, Ctrl-C) is in flight: it is suggested again after a restart.
    A configuration that was suggested before is not run twice: Optuna is told what came of it, and asked again.
    """

    def __init__(
        self,
        space: Space,
        *,
        fixed: Mapping[str, Any],
        references: Sequence[tuple[str, Mapping[str, Any]]],
        journal: Journal,
        trials: int,
        epochs: int,
        seed: int,
        slots: Callable[[], int],
    ) -> None:
        """Make a searcher in the state that ``journal`` tells of.

        Args:
            space: what is searched.
            fixed: settings outside the space that its conditions look at.
            references: (role, settings) of trials that come first and lie outside the space.
            journal: where everything that happens is written.
            trials: how many are suggested in all.
            epochs: a trial that reached this many is finished.
            seed: the sampler's.
            slots: says how many trials may be under way at this moment.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=max(1, min(10, trials // 3)),
            )
        super().__init__(
            space=functools.partial(space.suggest, fixed),
            metric=SCORE,
            mode="max",
            sampler=sampler,
            points_to_evaluate=[space.defaults(fixed)],
        )
        self._fixed = dict(fixed)
        self._references = [(role, dict(settings)) for role, settings in references]
        self._journal = journal
        self._trials = trials
        self._epochs = epochs
        self._slots = slots
        self._under_way: set[str] = set()
        self._suggested: list[tuple[str, dict[str, Any]]] = []
        self._numbers: dict[str, int] = {}
        self._config_ids: dict[str, int] = {}
        self._endings: dict[int, tuple[Ending, float | None]] = {}
        self._told: dict[int, int] = {}
        self._in_flight: list[int] = []
        self.broken: UserError | OutsideFaultError | None = None
        """What ends the search: another driver is at it, or there is a fault outside, such as a full disk."""
        self._replay(journal.events())

    def _replay(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "suggested":
                point = self._next_point()
                if point is None or point[1] != event.settings:
                    raise UserError(
                        f"the journal {self._journal.path} tells of another search: trial {event.trial} was "
                        f"{event.settings}, this one suggests {point}; use another --experiment"
                    )
            elif event.kind == "exhausted":
                self._trials = event.trial
            elif event.kind == "reported" and event.decision == "CONTINUE":
                self._report(event.trial, event.epoch, event.score)
            elif event.kind == "ended":
                self._tell(event.trial, cast(Ending, event.decision), event.epoch, event.score)
        self._in_flight = in_flight(events)

    def _next_point(self) -> tuple[str, dict[str, Any]] | None:
        """Draw the next trial's role and settings, or None where the space has nothing new."""
        number = len(self._suggested)
        if number < len(self._references):
            point = self._references[number]
            self._config_ids[self._identity(point[1])] = number
        else:
            settings = self._new_settings(number)
            if settings is None:
                return None
            point = ("default" if number == len(self._references) else "suggested", settings)
        self._suggested.append(point)
        return point

    def _new_settings(self, number: int) -> dict[str, Any] | None:
        for _ in range(MOST_REPEATS):
            settings: dict[str, Any] | None = super().suggest(self._study_id(number))
            assert settings is not None
            first = self._config_ids.setdefault(self._identity(settings), number)
            if first == number:
                return settings
            repeated = self._ot_trials.pop(self._study_id(number))
            ending, score = self._endings.get(first, ("running", None))
            if ending == "finished":
                self._ot_study.tell(repeated, score)
            else:
                self._ot_study.tell(repeated, state=TrialState.PRUNED if ending == "stopped" else TrialState.FAIL)
        return None

    def _identity(self, settings: Mapping[str, Any]) -> str:
        return config_id(config_from_flat(overlay(self._fixed, settings)))

    @staticmethod
    def _study_id(number: int) -> str:
        return f"trial-{number}"

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial: first those in flight when the search was interrupted, then new ones.

        None while as many are under way as the cluster takes at this moment.

        Raises:
            UserError, OutsideFaultError, OSError: see ``broken``, and :meth:`Journal.append`.
        """
        if self.broken is not None:
            raise self.broken
        if len(self._under_way) >= self._slots():
            return None
        if self._in_flight:
            number = self._in_flight.pop(0)
            role, settings = self._suggested[number]
        else:
            number = len(self._suggested)
            if number >= self._trials:
                return Searcher.FINISHED  # type: ignore[no-any-return]
            point = self._next_point()
            if point is None:
                self._trials = number
                self._journal.append(Event("exhausted", number))
                return Searcher.FINISHED  # type: ignore[no-any-return]
            role, settings = point
            self._journal.append(Event("suggested", number, settings=settings, role=role))
        self._numbers[trial_id] = number
        self._under_way.add(trial_id)
        return {**settings, NUMBER: number, ROLE: role, CONFIG_ID: self._identity(settings)}

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file where Tune keeps what it would go on from: the journal is that.

        A space's conditions need not be such that they can be pickled.
        """
        Path(checkpoint_path).touch()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take a score of a trial that goes on; the scheduler has journaled it."""
        self._report(self._numbers[trial_id], result[EPOCH], result[SCORE])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take a trial's end, unless something else than the scheduler or a failure ended it.

        Nothing is raised, since Tune would take it for the trial's failure: what ends the search is kept in ``broken``.
        """
        try:
            self._complete(trial_id, result, error)
        except (UserError, OutsideFaultError) as problem:
            self.broken = problem
        except OSError as problem:
            self.broken = find_outside_fault(problem)

    def _complete(self, trial_id: str, result: dict[str, Any] | None, error: bool) -> None:
        if result is not None and result.get(GONE):
            raise OutsideFaultError(result[GONE])
        number = self._numbers[trial_id]
        self._under_way.discard(trial_id)
        ending = None if error else ending_of(result or {}, self._epochs)
        if ending is None:
            return  # in flight still: it was interrupted, or its process died, which need not be its own fault
        epoch, score = (0, None) if result is None or ending == "failed" else (result[EPOCH], result[SCORE])
        self._journal.append(Event("ended", number, epoch=epoch, score=score, decision=ending))
        self._tell(number, ending, epoch, score)

    def _report(self, number: int, epoch: int, score: float | None) -> None:
        if number >= len(self._references) and epoch > self._told.get(number, 0):
            assert score is not None
            self._ot_trials[self._study_id(number)].report(score, epoch)
        self._told[number] = max(epoch, self._told.get(number, 0))

    def _tell(self, number: int, ending: Ending, epoch: int, score: float | None) -> None:
        self._endings[number] = (ending, score)
        if number < len(self._references):
            return
        trial = self._ot_trials[self._study_id(number)]
        if ending == "finished":
            self._ot_study.tell(trial, score)
        elif ending == "stopped":
            self._report(number, epoch, score)
            self._ot_study.tell(trial, state=TrialState.PRUNED)
        else:
            self._ot_study.tell(trial, state=TrialState.FAIL)
