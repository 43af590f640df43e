"""A Ray Tune searcher that asks Optuna for each trial, and starts again from the search's journal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault
from csg.parsing import build_config, overlay
from csg.randomness import make_generator
from csg.training.identity import compute_config_id
from tune_spaces.execution.source import TrialSource
from tune_spaces.execution.trial import (
    CONFIG_ID,
    EPOCH,
    GONE,
    NUMBER,
    OUTDATED,
    ROLE,
    SCORE,
    Ending,
    get_ending,
    get_epochs,
)
from tune_spaces.search.journal import Event, Journal, list_in_flight
from tune_spaces.search.scheduler import Rungs
from tune_spaces.spaces.space import Space

MOST_REPEATS = 50
"""Suggestions in a row that were made before, after which the space counts as exhausted."""


class JournaledOptunaSearch(TrialSource):
    """Searches a conditional space by TPE (multivariate, grouped), through Optuna's ask interface.

    References come first, then the default point, then what Optuna suggests. A suggestion depends on the seed, on
    the trial's number and on what the journal says of earlier trials; a journaled one is never drawn again. Optuna
    records a trial that the scheduler stopped as pruned, with its last score under the rung that it has reached, so
    that no scores of different rungs are compared. References lie outside the space, and Optuna does not see them.
    A trial that something else ended (a budget, Ctrl-C) is in flight, and runs again after a restart, or at once where
    it is taken back. No configuration runs twice.
    """

    def __init__(
        self,
        space: Space,
        *,
        fixed: Mapping[str, Any],
        references: Sequence[tuple[str, Mapping[str, Any]]],
        journal: Journal,
        trials: int,
        rungs: Rungs,
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
            rungs: where trials are compared, and how many epochs one has whose settings do not say otherwise.
            seed: the sampler's.
            slots: says how many trials may run at this moment.

        Raises:
            UserError: the journal tells of another search.
        """
        super().__init__(metric=SCORE, mode="max")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._fixed = dict(fixed)
        self._references = len(references)
        self._first = [(role, dict(settings)) for role, settings in references]
        default = space.make_point(fixed)
        if self._identify(default) not in {self._identify(settings) for _, settings in self._first}:
            self._first.append(("default", default))
        self._journal = journal
        self._trials = trials
        self._startup_trials = max(1, min(10, trials // 3))
        self._rungs = rungs
        self._seed = seed
        self._slots = slots
        self._under_way: dict[str, int] = {}
        """Trial numbers, by Tune's ids."""
        self._suggested: list[tuple[str, dict[str, Any]]] = []
        self._config_ids: set[str] = set()
        self._known: dict[int, FrozenTrial] = {}
        """What Optuna knows of each trial, in the order of their numbers."""
        self._is_outdated = False
        """Whether a process was started by other sources of csg than the driver: it would leave every trial alone."""
        events = journal.read_events()
        self._replay(events)
        self._in_flight = list_in_flight(events)
        """Of these trials, those that no process trains."""

    def _replay(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "suggested":
                if event.trial != len(self._suggested) or not self._can_suggest(event):
                    raise UserError(
                        f"the journal {self._journal.file} tells of another search, whose trial {event.trial} is "
                        f"{event.settings}; use another --experiment"
                    )
                self._add_suggestion(event.role, event.settings)
            elif event.kind == "exhausted":
                self._trials = event.trial
            elif event.kind == "ended":
                self._add_ending(event.trial, cast(Ending, event.decision), event.epoch, event.score)

    def _can_suggest(self, event: Event) -> bool:
        if event.trial < len(self._first):
            return self._first[event.trial] == (event.role, event.settings)
        try:
            self._describe(event.settings, state=TrialState.RUNNING)
        except ValueError:
            return False
        return True

    def _add_suggestion(self, role: str, settings: dict[str, Any]) -> None:
        number = len(self._suggested)
        self._suggested.append((role, settings))
        self._config_ids.add(self._identify(settings))
        if number >= self._references:
            self._known[number] = self._describe(settings, state=TrialState.RUNNING)

    def _add_ending(self, number: int, ending: Ending, epoch: int, score: float | None) -> None:
        if number in self._known:
            settings = self._suggested[number][1]
            if score is None or math.isnan(score):
                self._known[number] = self._describe(settings, state=TrialState.FAIL)
            else:
                state = TrialState.COMPLETE if ending == "finished" else TrialState.PRUNED
                own = get_epochs(settings, self._rungs.epochs)
                rung = max(self._rungs.list_reached(epoch, own), default=0)
                step = self._rungs.epochs if ending == "finished" else math.ceil(rung)
                self._known[number] = self._describe(
                    settings, state=state, value=score, intermediate_values={step: score}
                )

    def _describe(self, settings: dict[str, Any], **outcome: Any) -> FrozenTrial:
        """Describe a trial to Optuna, which raises ValueError where the settings do not lie in the space."""
        point = FixedTrial(settings)
        self._space.suggest(self._fixed, point)
        return create_trial(params=settings, distributions=point.distributions, **outcome)

    def _identify(self, settings: Mapping[str, Any]) -> str:
        return compute_config_id(build_config(overlay(self._fixed, settings)))

    def build_study(self) -> optuna.Study:
        """Build the study that the next trial is asked of: all trials so far by number, and a sampler seeded for it.

        Built anew each time, it depends on neither the order in which trials ended nor on a restart.
        """
        seed = int(make_generator(self._seed, "suggestion", len(self._suggested)).integers(2**32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=self._startup_trials
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(self._known.values())
        return study

    def _draw(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next trial's role and settings, or None where the space has nothing new."""
        number = len(self._suggested)
        if number < len(self._first):
            return self._first[number]
        study = self.build_study()
        for _ in range(MOST_REPEATS):  # a repeat stays in this study as under way, and TPE avoids what is
            trial = study.ask()
            self._space.suggest(self._fixed, trial)
            if self._identify(trial.params) not in self._config_ids:
                return "suggested", trial.params
        return None

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial: first those in flight that nobody trains, then new ones.

        None while as many run as the cluster takes at this moment.

        Raises:
            UserError, OutsideFaultError, OSError: see ``broken``, and :meth:`Journal.append`.
        """
        if self.broken is not None:
            raise self.broken
        if self.is_over:
            return Searcher.FINISHED  # type: ignore[no-any-return]
        if len(self._under_way) >= self._slots():
            return None
        if self._in_flight:
            number = self._in_flight.pop(0)
        else:
            number = len(self._suggested)
            point = self._draw()
            if point is None:
                self._trials = number
                self._journal.append(Event("exhausted", number))
                return Searcher.FINISHED  # type: ignore[no-any-return]
            self._journal.append(Event("suggested", number, settings=point[1], role=point[0]))
            self._add_suggestion(*point)
        role, settings = self._suggested[number]
        self._under_way[trial_id] = number
        return {**settings, NUMBER: number, ROLE: role, CONFIG_ID: self._identify(settings)}

    @property
    def is_over(self) -> bool:
        """Whether no process is needed for a trial in flight, and no new one is to be suggested."""
        return self._is_outdated or (not self._in_flight and len(self._suggested) >= self._trials)

    def take_back(self, number: int) -> None:
        """Suggest a trial in flight again, as the next one."""
        self._in_flight.insert(0, number)

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
        number = self._under_way.pop(trial_id)
        if result is not None and result.get(OUTDATED):
            self._is_outdated = True
        epochs = get_epochs(self._suggested[number][1], self._rungs.epochs)
        ending = None if error else get_ending(result or {}, epochs)
        if ending is None:
            return  # in flight still: it was interrupted, or its process died, which need not be its own fault
        epoch, score = (0, None) if result is None or ending == "failed" else (result[EPOCH], result[SCORE])
        self._journal.append(Event("ended", number, epoch=epoch, score=score, decision=ending))
        self._add_ending(number, ending, epoch, score)
