"""The searcher: seeded, firewalled, and the same after any interruption."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from csg.messages.faults import OutsideFaultError
from csg.parsing import build_config, overlay
from csg.storage.disk import DiskPlace
from tests.tune_spaces.search.simulated_search import (
    BASE,
    DEFAULTS,
    EPOCHS,
    REFERENCES,
    Cut,
    Landscape,
    drive,
    falling,
    rising,
    searcher,
    what_happened,
)
from tune_spaces.execution.trial import EPOCH, FAILED, GONE, NUMBER, OUTDATED, ROLE, SCORE, get_epochs
from tune_spaces.search.journal import Event, Journal, count_trials, count_unfinished, list_in_flight
from tune_spaces.search.scheduler import Rungs
from tune_spaces.search.searcher import JournaledOptunaSearch
from tune_spaces.spaces.shipped import SPACES
from tune_spaces.spaces.space import Choice, Space


def test_a_search_keeps_as_many_trials_under_way_as_the_cluster_takes_at_the_moment(tmp_path: Path) -> None:
    slots = 1
    search = searcher(Journal(DiskPlace(tmp_path / "journal.jsonl")), slots=lambda: slots)
    assert search.suggest("a") is not None and search.suggest("b") is None
    slots = 3
    assert search.suggest("b") is not None and search.suggest("c") is not None and search.suggest("d") is None
    slots = 2
    search.on_trial_complete("a", {EPOCH: EPOCHS, SCORE: 0.5, "done": True})
    assert search.suggest("d") is None
    search.on_trial_complete("b", error=True)
    assert search.suggest("d") is not None


def test_a_trial_that_is_taken_back_comes_next_also_when_all_were_suggested(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    search = searcher(journal, slots=lambda: 9)
    trials = {name: search.suggest(name) for name in "ab"}
    search.on_trial_complete("a", error=True)
    search.take_back(0)
    again = search.suggest("c")
    assert again == trials["a"] and again is not None and again[NUMBER] == 0
    for name in map(str, itertools.count()):
        if search.is_over:
            break
        search.suggest(name)
        search.on_trial_complete(name, {EPOCH: EPOCHS, SCORE: 0.5, "done": True})
    assert search.suggest("z") == Searcher.FINISHED
    search.on_trial_complete("b", error=True)
    search.take_back(1)
    assert not search.is_over and search.suggest("z") == trials["b"] and search.is_over
    assert list_in_flight(journal.read_events()) == [0, 1]


def test_reference_points_come_first(simulated: Journal) -> None:
    first, second = [event for event in simulated.read_events() if event.kind == "suggested"][:2]
    assert (first.role, first.settings) == REFERENCES[0]
    assert second.role == "default"
    assert second.settings["method.temperature"] == 0.07
    assert second.settings["method.queue_size"] == 65536
    assert second.settings["method.stages"] == "3+4"


def test_every_suggestion_is_a_valid_configuration_with_active_settings_only(simulated: Journal) -> None:
    for event in simulated.read_events():
        if event.kind == "suggested" and event.role == "suggested":
            build_config(overlay(BASE, event.settings))
            chosen = event.settings["method.stages"].split("+")
            conditional = {
                name for name in event.settings if name.startswith("method.stage") and name != "method.stages"
            }
            assert conditional == {f"method.stage{s}.{part}" for s in chosen for part in ("weight", "pooling")}


def test_one_seed_suggests_identical_trials(simulated: Journal, tmp_path: Path) -> None:
    again, other = Journal(DiskPlace(tmp_path / "again.jsonl")), Journal(DiskPlace(tmp_path / "other.jsonl"))
    drive(again)
    drive(other, seed=1)
    assert what_happened(again) == what_happened(simulated)
    assert what_happened(other) != what_happened(simulated)


@pytest.mark.slow
@pytest.mark.parametrize(("score", "space"), [(rising, "csg"), (falling, "csg"), (falling, "epochs")])
def test_a_search_cut_anywhere_ends_like_one_that_was_not(tmp_path: Path, score: Landscape, space: str) -> None:
    whole = Journal(DiskPlace(tmp_path / "whole.jsonl"))
    searched = SPACES[space].with_defaults({"train.epochs": EPOCHS})
    drive(whole, score=score, trials=8, space=searched)
    for cut_after in itertools.count(1):
        journal = Journal(DiskPlace(tmp_path / f"{cut_after}.jsonl"))
        try:
            drive(journal, cut_after=cut_after, score=score, trials=8, space=searched)
        except Cut:
            drive(journal, score=score, trials=8, space=searched)
        else:
            break
        assert what_happened(journal) == what_happened(whole), f"cut after call {cut_after}"
    assert cut_after > 20


def test_trials_of_any_length_that_are_stopped_at_one_rung_are_one_step_to_optuna(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    space = Space((Choice("train.epochs", 20, options=(10, 20, 40)),))
    for number, (epochs, epoch) in enumerate([(20, 5), (10, 3), (40, 10)]):
        journal.append(
            Event("suggested", number, settings={"train.epochs": epochs}, role="default" if not number else "suggested")
        )
        journal.append(Event("ended", number, epoch=epoch, score=0.5, decision="stopped"))
    base = {name: value for name, value in DEFAULTS.items() if name not in space.names}
    search = JournaledOptunaSearch(
        space,
        fixed=base,
        references=(),
        journal=journal,
        trials=9,
        rungs=Rungs(20, grace_epochs=5),
        seed=0,
        slots=lambda: 1,
    )
    assert [each.intermediate_values for each in search.build_study().trials] == [{5: 0.5}] * 3


def test_every_length_that_ends_is_finished_to_optuna_and_scores_lie_at_rungs(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    space = SPACES["epochs"].with_defaults({"train.epochs": EPOCHS})
    drive(journal, score=falling, space=space)
    events = journal.read_events()
    epochs = {event.trial: get_epochs(event.settings, EPOCHS) for event in events if event.kind == "suggested"}
    assert set(epochs.values()) == {2, EPOCHS, 6}
    ended = {event.trial: event for event in events if event.kind == "ended"}
    assert all((end.decision == "finished") == (end.epoch == epochs[trial]) for trial, end in ended.items())
    assert {end.decision for end in ended.values()} == {"finished", "stopped"}
    pruned = [each for each in searcher(journal, space=space).build_study().trials if each.state.name == "PRUNED"]
    assert pruned and all(set(each.intermediate_values) <= {1} for each in pruned), "there is one rung"


def test_no_configuration_is_run_twice_and_a_small_space_ends_early(tmp_path: Path) -> None:
    space = Space((Choice("method.stages", "3+4", ("3+4", "4", "3")),))
    journal = Journal(DiskPlace(tmp_path / "j.jsonl"))
    drive(journal, trials=12, space=space)
    suggested = [event.settings for event in journal.read_events() if event.kind == "suggested"]
    assert sorted(settings.get("method.stages", "") for settings in suggested) == ["", "3", "3+4", "4"]
    assert journal.read_events()[-1].kind == "exhausted"
    assert count_unfinished(journal.read_events(), 12) == 0
    assert count_trials(journal.read_events(), 12) == 4
    again = searcher(journal, trials=12, space=space)
    assert again.suggest("more") == Searcher.FINISHED


def test_optuna_records_a_failed_trial_as_failed_and_one_whose_process_died_stays_in_flight(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "j.jsonl"))
    search = searcher(journal, slots=lambda: 3)
    for index in range(3):
        assert isinstance(search.suggest(f"id{index}"), dict)
    search.on_trial_complete("id1", {EPOCH: 0, FAILED: True, "done": True})
    search.on_trial_complete("id2", error=True)
    assert [event.decision for event in journal.read_events() if event.kind == "ended"] == ["failed"]
    assert [trial.state for trial in search.build_study().trials] == [TrialState.FAIL, TrialState.RUNNING]
    assert list_in_flight(journal.read_events()) == [0, 2]
    again = searcher(journal, slots=lambda: 3)
    assert [(again.suggest(name) or {})[NUMBER] for name in "abc"] == [0, 2, 3], "and is tried again"


def test_optuna_records_stopped_trials_as_pruned_with_their_score_by_epoch(simulated: Journal) -> None:
    trials = searcher(simulated).build_study().trials
    endings = {event.trial: event for event in simulated.read_events() if event.kind == "ended"}
    for trial in trials:
        ending = endings[trial.number + len(REFERENCES)]
        assert trial.state == (TrialState.COMPLETE if ending.decision == "finished" else TrialState.PRUNED)
        assert trial.value == ending.score
        assert trial.intermediate_values == {ending.epoch: ending.score}
    assert len(trials) == 11, "source only lies outside the space, and Optuna does not see it"


def test_optuna_records_a_score_that_is_no_number_as_a_failure(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "j.jsonl"))
    search = searcher(journal)
    for name in "ab":
        search.suggest(name)
        search.on_trial_complete(name, {EPOCH: EPOCHS, SCORE: float("nan"), "done": True})
    for each in (search, searcher(journal)):
        assert [trial.state for trial in each.build_study().trials] == [TrialState.FAIL]


def test_a_search_starts_at_random_for_a_third_of_its_trials_and_then_follows_the_scores(tmp_path: Path) -> None:
    def suggested(name: str, score: Landscape) -> list[dict[str, Any]]:
        journal = Journal(DiskPlace(tmp_path / name))
        drive(journal, score=score)
        return [event.settings for event in journal.read_events() if event.kind == "suggested"]

    one, other = suggested("one", rising), suggested("other", lambda settings, epoch: -rising(settings, epoch))
    assert one[:5] == other[:5], "source only, the default, and what was drawn while fewer than 4 trials had ended"
    assert one[5] != other[5]


def test_a_suggestion_depends_on_neither_the_order_of_endings_nor_a_restart(tmp_path: Path) -> None:
    def seventh(name: str, order: list[int], *, restarts: bool = False) -> dict[str, Any]:
        journal = Journal(DiskPlace(tmp_path / name))
        search = searcher(journal, slots=lambda: 6)
        for number in range(6):
            search.suggest(f"id{number}")
        for number in order:
            search.on_trial_complete(f"id{number}", {EPOCH: 1 + number % 3, SCORE: 0.1 * number, "done": True})
            if restarts:
                search = searcher(journal, slots=lambda: 6)
                for left in list_in_flight(journal.read_events()):
                    search.suggest(f"id{left}")
        suggestion = search.suggest("id6")
        assert suggestion is not None and suggestion[NUMBER] == 6
        return suggestion

    undisturbed = seventh("undisturbed", [0, 1, 2, 3, 4])
    assert seventh("order", [4, 2, 0, 3, 1]) == undisturbed
    assert seventh("restarts", [2, 4, 3, 1, 0], restarts=True) == undisturbed
    assert seventh("fewer", [0, 1, 2, 4]) != undisturbed, "it does depend on what ended"


def test_a_resumed_search_draws_nothing_again(simulated: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.Study, "ask", lambda _: pytest.fail("a journaled suggestion was drawn again"))
    assert searcher(simulated).suggest("more") == Searcher.FINISHED


def test_a_default_that_is_a_reference_is_no_trial_of_its_own(tmp_path: Path) -> None:
    journal, space = Journal(DiskPlace(tmp_path / "j.jsonl")), SPACES["learning_rates"]
    fixed = {name: value for name, value in DEFAULTS.items() if name not in space.names}
    references = (("source_only", space.make_point(fixed)),)
    search = JournaledOptunaSearch(
        space,
        fixed=fixed,
        references=references,
        journal=journal,
        trials=3,
        rungs=Rungs(EPOCHS),
        seed=0,
        slots=lambda: 3,
    )
    for name in "abc":
        search.suggest(name)
    assert [event.role for event in journal.read_events()] == ["source_only", "suggested", "suggested"]


def test_a_trial_that_was_cut_off_stays_in_flight(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "j.jsonl"))
    search = searcher(journal)
    config = search.suggest("a")
    assert isinstance(config, dict)
    search.on_trial_result("a", {EPOCH: 1, SCORE: 0.5})
    search.on_trial_complete("a", {EPOCH: 1, SCORE: 0.5})
    assert [event.kind for event in journal.read_events()] == ["suggested"]
    again = searcher(journal)
    assert count_unfinished(journal.read_events(), 12) == 12
    assert again.suggest("b") == config
    assert (config[NUMBER], config[ROLE]) == (0, "source_only")


def test_a_process_of_other_sources_takes_no_more_than_one_trial(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    search = searcher(journal)
    search.suggest("a")
    search.on_trial_complete("a", {EPOCH: 0, OUTDATED: True, "done": True})
    assert search.suggest("b") == Searcher.FINISHED
    assert [event.kind for event in journal.read_events()] == ["suggested"], "and none that nobody would train"


def test_a_trial_whose_store_is_gone_stays_in_flight_and_ends_the_search(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    search = searcher(journal)
    search.suggest("a")
    search.on_trial_complete("a", {EPOCH: 1, GONE: "the store does not answer any more", "done": True})
    with pytest.raises(OutsideFaultError, match="the store does not answer any more"):
        search.suggest("b")
    assert list_in_flight(journal.read_events()) == [0]
    assert searcher(journal).suggest("a") is not None
