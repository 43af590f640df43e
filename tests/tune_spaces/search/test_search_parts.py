"""Searcher, scheduler and journal: seeded, firewalled, and the same after any interruption."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from csg.config import DataConfig
from csg.config.settings import flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.parsing import build_config, overlay, parse_flags
from csg.randomness import make_generator
from csg.storage.disk import DiskPlace
from tests.few_images import few_images
from tune_spaces.execution.trial import EPOCH, FAILED, GONE, NUMBER, ROLE, SCORE, get_epochs, get_settings
from tune_spaces.search.journal import Event, Journal, count_unfinished, list_in_flight
from tune_spaces.search.plan import REFERENCE, Search, SearchOptions, is_source_only, plan_search
from tune_spaces.search.scheduler import JournaledASHA, Rungs
from tune_spaces.search.script import START, THREADS
from tune_spaces.search.searcher import JournaledOptunaSearch
from tune_spaces.spaces.narrowing import check_space, narrow_space
from tune_spaces.spaces.shipped import SPACES, find_space
from tune_spaces.spaces.space import Choice, Space

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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    journal = Journal(DiskPlace(tmp_path_factory.mktemp("search") / "journal.jsonl"))
    drive(journal)
    return journal


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


def test_reference_points_come_first(undisturbed: Journal) -> None:
    first, second = [event for event in undisturbed.read_events() if event.kind == "suggested"][:2]
    assert (first.role, first.settings) == REFERENCES[0]
    assert second.role == "default"
    assert second.settings["method.temperature"] == 0.07
    assert second.settings["method.queue_size"] == 65536
    assert second.settings["method.stages"] == "3+4"


def test_reference_points_run_to_the_end_and_others_are_stopped_early(undisturbed: Journal) -> None:
    endings = {event.trial: event for event in undisturbed.read_events() if event.kind == "ended"}
    assert endings[0].epoch == endings[1].epoch == EPOCHS
    assert {event.decision for event in endings.values()} == {"finished", "stopped"}


def test_every_suggestion_is_a_valid_configuration_with_active_settings_only(undisturbed: Journal) -> None:
    for event in undisturbed.read_events():
        if event.kind == "suggested" and event.role == "suggested":
            build_config(overlay(BASE, event.settings))
            chosen = event.settings["method.stages"].split("+")
            conditional = {
                name for name in event.settings if name.startswith("method.stage") and name != "method.stages"
            }
            assert conditional == {f"method.stage{s}.{part}" for s in chosen for part in ("weight", "pooling")}


def test_one_seed_suggests_identical_trials(undisturbed: Journal, tmp_path: Path) -> None:
    again, other = Journal(DiskPlace(tmp_path / "again.jsonl")), Journal(DiskPlace(tmp_path / "other.jsonl"))
    drive(again)
    drive(other, seed=1)
    assert what_happened(again) == what_happened(undisturbed)
    assert what_happened(other) != what_happened(undisturbed)


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


def test_a_line_that_a_kill_cut_short_never_happened(undisturbed: Journal, tmp_path: Path) -> None:
    data = undisturbed.file.local.read_bytes()
    for cut in (len(data) // 3, len(data) // 2, len(data) - 1):
        journal = Journal(DiskPlace(tmp_path / f"{cut}.jsonl"))
        journal.file.local.write_bytes(data[:cut])
        journal.read_events()
        assert journal.file.local.read_bytes() == data[:cut], "reading changes nothing: the line may be on its way"
        journal.repair()
        drive(journal)
        assert what_happened(journal) == what_happened(undisturbed)


def test_optuna_records_stopped_trials_as_pruned_with_their_score_by_epoch(undisturbed: Journal) -> None:
    trials = searcher(undisturbed).build_study().trials
    endings = {event.trial: event for event in undisturbed.read_events() if event.kind == "ended"}
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


def test_a_resumed_search_draws_nothing_again(undisturbed: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.Study, "ask", lambda _: pytest.fail("a journaled suggestion was drawn again"))
    assert searcher(undisturbed).suggest("more") == Searcher.FINISHED


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


def test_a_journal_that_lacks_a_line_is_refused(undisturbed: Journal, tmp_path: Path) -> None:
    lines = undisturbed.file.local.read_bytes().splitlines(keepends=True)
    suggested = [number for number, line in enumerate(lines) if b'"suggested"' in line and b'"trial": 4' in line]
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(b"".join(line for number, line in enumerate(lines) if number != suggested[0]))
    with pytest.raises(UserError, match="tells of another search, whose trial 5 is"):
        searcher(Journal(DiskPlace(torn)))


@pytest.mark.parametrize("name", ["contrast", "csg_segmentation"])
def test_a_journal_of_another_search_is_refused(undisturbed: Journal, name: str) -> None:
    with pytest.raises(UserError, match="tells of another search, whose trial 1 is"):
        searcher(undisturbed, space=SPACES[name])


@pytest.mark.filterwarnings("ignore:The value 7.0 of the parameter")
@pytest.mark.parametrize(
    "point",
    [
        {"optim.lr": 7.0, "optim.backbone_lr_factor": 0.1},
        {"optim.lr": 0.02},
        {"optim.lr": 0.02, "optim.backbone_lr_factor": 0.1, "method.temperature": 0.1},
    ],
)
def test_a_journal_with_a_suggestion_outside_the_space_is_refused(tmp_path: Path, point: dict[str, float]) -> None:
    journal, space = Journal(DiskPlace(tmp_path / "j.jsonl")), SPACES["learning_rates"]
    drive(journal, trials=2, space=space)
    searcher(journal, space=space)
    journal.append(Event("suggested", 2, settings=point))
    with pytest.raises(UserError, match="tells of another search, whose trial 2 is"):
        searcher(journal, space=space)


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


def test_a_space_can_be_named_or_imported() -> None:
    assert find_space("contrast", method="csg", data=DataConfig()) is SPACES["contrast"]
    scenes, streets = (DataConfig(name=name, augmentation="none") for name in ("glyph_scenes", "gta5_cityscapes"))
    for method, data, name in (
        ("csg", streets, "csg_segmentation"),
        ("csg", scenes, "csg_glyph_scenes"),
        ("asg", streets, "asg"),
        ("of somebody's own", DataConfig(), "learning_rates"),
    ):
        *declared, augmentation = find_space("", method=method, data=data).parameters
        assert tuple(declared) == SPACES[name].parameters
        assert isinstance(augmentation, Choice) and augmentation.name == "data.augmentation"
        assert ("randaugment" in augmentation.options) == (data.task == "classification"), "which moves pixels"
    with pytest.raises(UserError, match="--space: expected one of csg"):
        find_space("everything", method="csg", data=DataConfig())
    with pytest.raises(UserError, match="--space: cannot import"):
        find_space("no_such_module:SPACE", method="csg", data=DataConfig())


def test_a_files_values_are_the_default_trial_where_the_space_holds_them() -> None:
    space = SPACES["contrast"].with_defaults({"method.temperature": 0.2, "method.stage4.weight": None})
    point = space.make_point({"method.stages": "3+4"})
    assert point["method.temperature"] == 0.2 and point["method.stage4.weight"] == 0.1
    with pytest.raises(UserError, match=r"method\.temperature: the space searches 0\.01 to 1, found 5"):
        SPACES["contrast"].with_defaults({"method.temperature": 5.0})


def test_a_search_starts_at_what_is_said_of_every_stage_and_a_flag_for_that_leaves_nothing_to_search() -> None:
    config = build_config({"method.weight": 0.5, "method.stage4.weight": 2.0})
    point = narrow_space(SPACES["contrast"], config, given={}).make_point({"method.stages": "3+4"})
    assert (point["method.stage3.weight"], point["method.stage4.weight"]) == (0.5, 2.0)
    left = narrow_space(SPACES["contrast"], config, given={"method.weight": 0.5})
    assert left.names == ("method.temperature", "method.queue_size")


RIVALS = ("weight_l2", "synaptic_intelligence", "feature_l2", "asg", "low_rank", "lp_ft", "miro", "mixstyle", "gcisg")


@pytest.mark.parametrize("name", RIVALS)
def test_a_rivals_space_starts_at_its_defaults_and_holds_only_its_settings(name: str) -> None:
    config = build_config({"data.name": "folders", "method.name": name})
    space = SPACES[name].with_defaults(flatten(config))
    assert space == SPACES[name]
    for point in space.list_corners(flatten(config)):
        build_config(overlay(flatten(config), point))


@pytest.mark.parametrize("averaging", ["swad", "wise_ft"])
@pytest.mark.parametrize("method", ["csg", "source_only"])
def test_an_averaging_is_searched_beside_what_it_is_around(method: str, averaging: str) -> None:
    config = build_config({"data.name": "folders", "method.name": method, "averaging.name": averaging})
    plain = find_space("", method=method, data=config.data)
    declared = find_space("", method=method, data=config.data, averaging=averaging)
    added = set(declared.names) - set(plain.names)
    assert added and added <= {f"averaging.{name}" for name in config.averaging.get_active()}
    space = declared.with_defaults(flatten(config))
    assert space == declared
    check_space(space, {k: v for k, v in flatten(config).items() if k not in space.names}, config)


def test_source_only_trains_at_the_learning_rates_that_the_configuration_states() -> None:
    config = build_config({"data.name": "folders", "optim.lr": 1e-3, "data.augmentation": "none"})
    space = narrow_space(find_space("", method="csg", data=config.data), config, given={})
    base = {name: value for name, value in flatten(config).items() if name not in space.names}
    get_reference = cast(Any, Search.reference).fget
    reference = get_reference(SimpleNamespace(config=config, space=space, base=base))
    trained = build_config(overlay(base, reference))
    assert (trained.method.name, trained.optim.lr, trained.data.augmentation) == ("source_only", 1e-3, "none")
    assert get_reference(SimpleNamespace(config=trained, space=space, base=base)) is None, "the default setting is it"


def test_a_searchs_reference_is_source_only_without_an_average() -> None:
    changes = REFERENCE
    averaged = build_config({"averaging.name": "swad"})
    reference = build_config(overlay(flatten(averaged), changes))
    assert is_source_only(reference) and not is_source_only(averaged)
    assert not is_source_only(build_config({"method.name": "source_only", "averaging.name": "wise_ft"}))


def test_a_trial_whose_store_is_gone_stays_in_flight_and_ends_the_search(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    search = searcher(journal)
    search.suggest("a")
    search.on_trial_complete("a", {EPOCH: 1, GONE: "the store does not answer any more", "done": True})
    with pytest.raises(OutsideFaultError, match="the store does not answer any more"):
        search.suggest("b")
    assert list_in_flight(journal.read_events()) == [0]
    assert searcher(journal).suggest("a") is not None


@pytest.mark.parametrize(("argv", "trials", "fresh"), [([], THREADS, 1), (["--train.threads", "3"], 3, 3)])
def test_fresh_runs_have_one_thread_each_unless_somebody_says_otherwise(
    argv: list[str], trials: int, fresh: int
) -> None:
    flags = parse_flags(SearchOptions, [*few_images(), *argv], prog="", description="", base=START)
    search = plan_search(flags, Console())
    assert (search.config.train.threads, search.fresh_threads) == (trials, fresh)
