"""The runs of an ablation as Ray Tune asks for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from csg.messages.console import Console
from csg.messages.faults import OutsideFaultError
from csg.workers import slots
from tests.csg.training.test_training import tiny
from tests.made_up_pair import made_up_pair
from tune_spaces.ablation.ablation import Ablation, CellRun, find_progress
from tune_spaces.ablation.cell_source import CellSource, LastEpochScheduler
from tune_spaces.ablation.script import show_plan
from tune_spaces.designs.design import Cell, Design
from tune_spaces.execution.trial import EPOCH, FAILED, GONE, NUMBER, OUTDATED, configure_trial


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The resources of each node, which a test may change."""
    found = [{"CPU": 2.0}]
    monkeypatch.setattr(slots, "list_nodes", lambda: found)
    return found


def make_source(folder: Path, *threads: int) -> CellSource:
    configs = {n: tiny(folder, train__threads=each, train__seed=n) for n, each in enumerate(threads)}
    return CellSource(configs, asked=0)


def number_of(suggested: dict[str, Any] | None) -> int | None:
    return None if suggested is None else suggested[NUMBER]


def test_each_run_is_suggested_once_in_order_and_as_many_at_a_time_as_fit(
    tmp_path: Path, nodes: list[dict[str, float]]
) -> None:
    runs = make_source(tmp_path, 1, 1, 1)
    first = runs.suggest("a")
    assert first is not None and configure_trial({}, first) == tiny(tmp_path, train__threads=1, train__seed=0)
    assert number_of(runs.suggest("b")) == 1 and runs.suggest("c") is None
    runs.on_trial_complete("a", {EPOCH: 2, "done": True})
    assert number_of(runs.suggest("c")) == 2
    runs.on_trial_complete("b", {EPOCH: 1, FAILED: "loss", "done": True})
    runs.on_trial_complete("c", {EPOCH: 1})
    assert runs.suggest("d") == Searcher.FINISHED
    assert runs.ended == {0, 1}, "the last one was interrupted"


def test_a_run_without_room_holds_up_no_other(tmp_path: Path, nodes: list[dict[str, float]]) -> None:
    runs = make_source(tmp_path, 2, 1)
    nodes[0]["CPU"] = 1.0
    assert number_of(runs.suggest("a")) == 1 and len(runs.make_slots().describe_shortages()) == 1
    runs.on_trial_complete("a", error=True)
    assert number_of(runs.suggest("b")) == 0, "a cluster that grows when asked has to be asked"
    assert runs.ended == set(), "its process was lost"


def test_a_run_that_tune_gave_up_early_is_suggested_again(tmp_path: Path, nodes: list[dict[str, float]]) -> None:
    runs = make_source(tmp_path, 1, 1)
    runs.suggest("a")
    runs.suggest("b")
    assert runs.is_over
    runs.on_trial_complete("b", error=True)
    runs.take_back(1)
    assert not runs.is_over and number_of(runs.suggest("c")) == 1 and runs.is_over


def test_the_cluster_is_asked_once_for_runs_that_need_the_same(tmp_path: Path) -> None:
    assert [config.train.threads for config in make_source(tmp_path, 1, 2, 1, 1).make_slots().configs] == [1, 2]


def test_a_process_of_other_sources_takes_no_more_than_one_run(tmp_path: Path, nodes: list[dict[str, float]]) -> None:
    runs = make_source(tmp_path, 1, 1)
    runs.suggest("a")
    runs.on_trial_complete("a", {EPOCH: 0, OUTDATED: True, "done": True})
    assert runs.suggest("b") == Searcher.FINISHED and runs.ended == set()


def test_a_fault_outside_the_runs_ends_the_ablation(tmp_path: Path, nodes: list[dict[str, float]]) -> None:
    runs = make_source(tmp_path, 1, 1)
    runs.suggest("a")
    runs.on_trial_complete("a", {EPOCH: 1, GONE: "the disk is full", "done": True})
    with pytest.raises(OutsideFaultError, match=r"^the disk is full$"):
        runs.suggest("b")
    assert runs.ended == set()


def test_a_run_goes_on_to_its_last_epoch() -> None:
    trial = SimpleNamespace(config={"train.epochs": 2})
    decisions = [LastEpochScheduler().on_trial_result(None, trial, {EPOCH: epoch}) for epoch in (1, 2)]
    assert decisions == ["CONTINUE", "STOP"]


def test_a_run_that_ended_without_its_end_on_record_ends_the_ablation(tmp_path: Path) -> None:
    design = Design(title="One", base="csg", cells=(Cell("csg", {}),))
    cell_run = CellRun(design.cells[0], tiny(tmp_path), made_up_pair())
    ablation = Ablation("one", design, (cell_run,), "sqlite:///none", "bars", 1)
    assert find_progress(ablation, set()) == {}
    with pytest.raises(OutsideFaultError, match=r"^csg seed 0 has ended, but .* has no end of it on record \(status r"):
        find_progress(ablation, {0})
    cell_run.run().close("failed", "loss")
    assert find_progress(ablation, {0})[0].status == "failed"


def test_a_plan_tells_what_goes_on_from_a_checkpoint_from_what_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    design = Design(title="One", base="csg", cells=(Cell("csg", {}),))
    config = tiny(tmp_path, train__checkpoint_minutes=0.0)
    run = CellRun(design.cells[0], config, made_up_pair()).run().create()
    ablation = Ablation("one", design, (CellRun(design.cells[0], config, made_up_pair()),), "sqlite:///none", "bars", 1)
    training = run.train()
    next(training)
    training.close()
    show_plan(ablation, Console())
    run.close("stopped")
    show_plan(ablation, Console())
    begun, stopped = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  csg")]
    assert begun.endswith("seed 0 begun (1 of 2 epochs)") and stopped.endswith("seed 0 missing")
