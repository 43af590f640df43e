"""The runs of an ablation as Ray Tune asks for them: in order, each to its last epoch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from csg.config import Config
from csg.config.settings import flatten
from csg.messages.faults import OutsideFaultError
from csg.training.identity import compute_config_id
from csg.workers.cluster import list_inputs
from csg.workers.slots import Slots
from tune_spaces.execution.source import TrialSource
from tune_spaces.execution.trial import CONFIG_ID, EPOCH, GONE, NUMBER, OUTDATED, get_ending


class CellSource(TrialSource):
    """Suggests the runs in order, and passes over those that the cluster has no room for at the moment."""

    def __init__(self, configs: Mapping[int, Config], *, asked: int) -> None:
        """Suggest the runs of ``configs``, by number; ``asked`` at a time, 0 for as many as fit."""
        super().__init__()
        self._configs = configs
        self._needs = {number: _tell_needs(config) for number, config in configs.items()}
        self._asked = asked
        self._waiting = list(configs)
        self._under_way: dict[str, int] = {}
        self._is_outdated = False
        """Whether a process was started by other sources of csg than the driver: it would leave every run alone."""
        self.ended: set[int] = set()
        """Runs that finished or failed."""

    def make_slots(self) -> Slots:
        """Make what asks the cluster how many runs at a time it takes of those that have not ended.

        Of runs that need the same there is one. Tune asks several times a second.
        """
        numbers = [*self._waiting, *self._under_way.values()] or self._configs
        configs = {self._needs[number]: self._configs[number] for number in numbers}
        return Slots(tuple(configs.values()), asked=self._asked, at_most=len(self._configs))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next run, or None while the cluster takes no more.

        Raises:
            OutsideFaultError: see ``broken``.
        """
        if self.broken is not None:
            raise self.broken
        if self.is_over:
            return Searcher.FINISHED  # type: ignore[no-any-return]
        under_way = self._get_configs(self._under_way.values())
        place = self.make_slots().choose_next_place(self._get_configs(self._waiting), under_way)
        if place is None:
            return None
        number = self._under_way[trial_id] = self._waiting.pop(place)
        config = self._configs[number]
        return {**flatten(config), NUMBER: number, CONFIG_ID: compute_config_id(config)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note that a run has ended, unless it was interrupted or lost its process."""
        number = self._under_way.pop(trial_id)
        result = result or {}
        self._is_outdated |= bool(result.get(OUTDATED))
        if result.get(GONE):
            self.broken = OutsideFaultError(result[GONE])
        elif not error and get_ending(result, self._configs[number].train.epochs) is not None:
            self.ended.add(number)

    @property
    def is_over(self) -> bool:
        """Whether no run waits for a process."""
        return self._is_outdated or not self._waiting

    def take_back(self, number: int) -> None:
        """Suggest a run again, before all others that fit."""
        self._waiting.insert(0, number)

    def _get_configs(self, numbers: Iterable[int]) -> list[Config]:
        return [self._configs[number] for number in numbers]


def _tell_needs(config: Config) -> tuple[Hashable, ...]:
    """Return what a run needs of a cluster: its share of it, and what its nodes have to see."""
    share = config.train.workers, config.cpus_per_worker, config.gpus_per_worker
    return *share, config.train.wait_minutes, str(list_inputs(config))


class LastEpochScheduler(FIFOScheduler):
    """Stops a trial when its last epoch is trained, and no earlier."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on."""
        last = result[EPOCH] >= trial.config["train.epochs"]
        return str(TrialScheduler.STOP if last else TrialScheduler.CONTINUE)
