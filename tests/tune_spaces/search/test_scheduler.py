"""The scheduler: which trials are stopped early, and that nothing but their scores decides."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from csg.randomness import make_generator
from csg.storage.disk import DiskPlace
from tests.tune_spaces.search.simulated_search import EPOCHS
from tune_spaces.execution.trial import EPOCH, NUMBER, ROLE, SCORE
from tune_spaces.search.journal import Event, Journal
from tune_spaces.search.scheduler import JournaledASHA, Rungs


def test_reference_points_run_to_the_end_and_others_are_stopped_early(simulated: Journal) -> None:
    endings = {event.trial: event for event in simulated.read_events() if event.kind == "ended"}
    assert endings[0].epoch == endings[1].epoch == EPOCHS
    assert {event.decision for event in endings.values()} == {"finished", "stopped"}


def test_where_epochs_are_searched_a_trial_ends_at_its_own_and_is_halved_at_shares_of_them(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    asha = JournaledASHA(journal, Rungs(8, grace_epochs=2))

    def train(number: int, epochs: int, score: float) -> int:
        config = {NUMBER: number, ROLE: "suggested", "train.epochs": epochs}
        journal.append(Event("suggested", number, settings={"train.epochs": epochs}, role="suggested"))
        trial, results = SimpleNamespace(config=config), ({EPOCH: epoch, SCORE: score} for epoch in itertools.count(1))
        return next(int(result[EPOCH]) for result in results if asha.on_trial_result(None, trial, result) == "STOP")

    assert [
        train(number, *trial) for number, trial in enumerate([(8, 0.5), (16, 0.1), (4, 0.1), (4, 0.6), (16, 0.7)])
    ] == [*(8, 4, 1, 4, 16)]
    asha = JournaledASHA(journal, Rungs(8, grace_epochs=2))
    assert train(5, 16, 0.55) == 4, "a new scheduler knows at which share the earlier ones were"


@pytest.mark.parametrize("usual", [2, 3, 4, 5, 6, 8, 20])
def test_a_rung_is_reached_at_the_first_epoch_at_or_beyond_its_share(usual: int) -> None:
    rungs = Rungs(usual, grace_epochs=max(1, usual // 4))
    for place in rungs.places:
        for own in (max(1, usual // 2), usual, 2 * usual):
            epoch = next(each for each in range(1, own + 1) if place in rungs.list_reached(each, own))
            assert epoch == own or not any(other > place for other in rungs.list_reached(epoch, own))
            assert epoch / own >= place / usual > (epoch - 1) / own, "the first epoch at or beyond its share"


@pytest.mark.parametrize("epochs", [1, 3, 9, 20])
@pytest.mark.parametrize(("grace_epochs", "reduction_factor"), [(1, 3), (2, 2), (1, 2.5), (40, 4)])
def test_trials_are_stopped_as_rays_own_asha_stops_them(
    tmp_path: Path, epochs: int, grace_epochs: int, reduction_factor: float
) -> None:
    """On random scores, many of them equal, of trials that take turns at random."""
    random = make_generator(epochs, "scores")
    ours = JournaledASHA(
        Journal(DiskPlace(tmp_path / "j.jsonl")),
        Rungs(epochs, grace_epochs=grace_epochs, reduction_factor=reduction_factor),
    )
    rays = ASHAScheduler(
        time_attr=EPOCH,
        metric=SCORE,
        mode="max",
        max_t=epochs,
        grace_period=min(grace_epochs, epochs),
        reduction_factor=reduction_factor,
    )
    trials: list[Any] = [
        SimpleNamespace(trial_id=str(n), config={NUMBER: n, ROLE: "suggested"}, epoch=0) for n in range(30)
    ]
    for trial in trials:
        rays.on_trial_add(None, trial)
    while trials:
        trial = trials[random.integers(min(len(trials), 8))]
        trial.epoch += 1
        result = {EPOCH: trial.epoch, SCORE: round(random.normal(), 1)}
        decision = ours.on_trial_result(None, trial, result)
        assert decision == rays.on_trial_result(None, trial, result)
        if decision == TrialScheduler.STOP:
            rays.on_trial_complete(None, trial, result)
            trials.remove(trial)
