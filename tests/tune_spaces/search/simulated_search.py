"""Searches without trainings: what Tune does, at concurrency 1, over made-up scores."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.search import Searcher

from csg.config.settings import flatten
from csg.parsing import build_config
from tune_spaces.execution.trial import EPOCH, SCORE, get_epochs, get_settings
from tune_spaces.search.journal import Event, Journal
from tune_spaces.search.plan import REFERENCE
from tune_spaces.search.scheduler import JournaledASHA, Rungs
from tune_spaces.search.searcher import JournaledOptunaSearch
from tune_spaces.spaces.shipped import SPACES
from tune_spaces.spaces.space import Space

EPOCHS = 3


DEFAULTS = flatten(build_config({}))


REFERENCES = (("source_only", REFERENCE),)


BASE = {name: value for name, value in DEFAULTS.items() if name not in SPACES["csg"].names}


def searcher(
    journal: Journal,
    *,
    seed: int = 0,
    trials: int = 12,
    space: Space = SPACES["csg"],
    slots: Callable[[], int] = lambda: 1,
) -> JournaledOptunaSearch:
    base = {name: value for name, value in DEFAULTS.items() if name not in space.names}
    return JournaledOptunaSearch(
        space,
        fixed=base,
        references=REFERENCES,
        journal=journal,
        trials=trials,
        rungs=Rungs(EPOCHS),
        seed=seed,
        slots=slots,
    )


def rising(settings: dict[str, Any], epoch: int) -> float:
    """A made-up landscape with an optimum in temperature and learning rate."""
    temperature, lr = float(settings.get("method.temperature", 0.5)), float(settings.get("optim.lr", 0.03))
    return 0.5 + 0.1 * epoch - abs(temperature - 0.2) - lr


def falling(settings: dict[str, Any], epoch: int) -> float:
    """Scores that dip after the first epoch."""
    return rising(settings, 1) - 0.3 * (epoch - 1)


Landscape = Callable[[dict[str, Any], int], float]


class Cut(Exception):
    """Stands in for a kill."""


def drive(
    journal: Journal,
    *,
    seed: int = 0,
    trials: int = 12,
    cut_after: int | None = None,
    score: Landscape = rising,
    space: Space = SPACES["csg"],
) -> JournaledOptunaSearch:
    """Do what Tune does at concurrency 1, to the end or to a cut after so many calls."""
    search = searcher(journal, seed=seed, trials=trials, space=space)
    asha = JournaledASHA(journal, Rungs(EPOCHS))
    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1
        if calls == cut_after:
            raise Cut

    for index in itertools.count():
        config = search.suggest(f"id{index}")
        if config == Searcher.FINISHED:
            return search
        assert isinstance(config, dict)
        tick()
        trial = SimpleNamespace(trial_id=f"id{index}", config=config)
        asha.on_trial_add(None, trial)
        for epoch in range(1, get_epochs(config, EPOCHS) + 1):
            result = {EPOCH: epoch, SCORE: score(get_settings(config), epoch), "done": False}
            decision = asha.on_trial_result(None, trial, result)
            tick()
            if decision == "STOP":
                result["done"] = True
                search.on_trial_complete(f"id{index}", result)
                break
            search.on_trial_result(f"id{index}", result)
        tick()
    raise AssertionError


def what_happened(journal: Journal) -> list[Event]:
    return [Event(**{**vars(event), "time": 0.0, "seconds": 0.0}) for event in journal.read_events()]
