"""The driver of a search or an ablation: alone at its study, and the only writer to MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.storage.disk import DiskPlace
from csg.tracking import Tracker
from csg.tracking.refusals import TrackingAwayError
from csg.training.record import Status
from csg.training.run import Run
from tests.csg.training.test_training import tiny
from tests.made_up_pair import made_up_pair
from tests.stores import put_store_below
from tune_spaces.execution.driver import Study, drive
from tune_spaces.execution.recorder import Entry, Progress
from tune_spaces.execution.trial import EPOCH, FAILED, NUMBER, OUTDATED, TrainingTrial, get_ending


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study of runs that differ in their seeds."""

    def find_entry(trial_config: Mapping[str, Any]) -> Entry:
        number = trial_config[NUMBER]
        return Entry(Run(tiny(tmp_path, train__seed=number), made_up_pair()), name=f"run {number}", tags={})

    return Study(
        kind="ablation",
        key="one",
        folder=DiskPlace(tmp_path / "ablations" / "one"),
        config=tiny(tmp_path),
        tracking_uri=put_store_below(tmp_path),
        experiment="bars",
        params={},
        tags={},
        description="",
        base={},
        fingerprints={},
        find_entry=find_entry,
    )


def statuses(study: Study) -> tuple[str, dict[str, Status]]:
    """Return MLflow's status of the parent run, and the status of each run below it."""
    tracker = Tracker(study.tracking_uri, study.experiment)
    parent = tracker.find_parent(study.kind, study.key, study.folder)
    assert parent is not None
    runs = {run.name: run.status for run in tracker.read_children(parent)}
    return tracker.client.get_run(parent).info.status, runs


def test_one_driver_at_a_time_runs_a_study(study: Study) -> None:
    with drive(study, Console()) as driver:
        driver.open(None)
        second = drive(study, Console())
        with pytest.raises(UserError, match=r"^this ablation is at work in another process \(folder "), second:
            pytest.fail("both are at work")
        assert statuses(study) == ("RUNNING", {})
        driver.conclude({}, unfinished=0)
    assert statuses(study) == ("FINISHED", {})


def test_what_is_left_under_way_is_interrupted_on_disk_and_in_mlflow(study: Study) -> None:
    running, failed = (study.find_entry({NUMBER: number}) for number in range(2))
    failed.run.close("failed", "loss at step 3")
    with drive(study, Console()) as driver:
        driver.open(None)
        progress = {0: Progress(running, "interrupted"), 1: Progress(failed, "failed")}
        assert driver.conclude(progress, unfinished=1).ending == "interrupted"
    assert statuses(study) == ("KILLED", {"run 0": "interrupted", "run 1": "failed"})
    assert study.find_entry({NUMBER: 0}).run.record.status == "interrupted"


def test_trials_go_on_without_mlflow_and_the_same_command_fills_it_in(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("away")

    def conclude() -> None:
        with drive(study, Console()) as driver:
            driver.open(None)
            driver.conclude({0: Progress(study.find_entry({NUMBER: 0}), "interrupted")}, unfinished=0)

    with monkeypatch.context() as away:
        away.setattr(Tracker, "open_run", refuse)
        with pytest.raises(TrackingAwayError):
            conclude()
    assert statuses(study) == ("FINISHED", {})
    conclude()
    assert statuses(study) == ("FINISHED", {"run 0": "interrupted"})


def the_trial(number: int) -> Any:
    return SimpleNamespace(config={NUMBER: number}, error_file=None)


def test_a_trial_that_fails_before_its_run_is_open_is_on_record_all_the_same(study: Study) -> None:
    with drive(study, Console()) as driver:
        driver.open(None)
        driver.recorder.on_trial_start(trial=the_trial(0))
        driver.recorder.on_trial_result(trial=the_trial(0), result={EPOCH: 0, FAILED: "no such data", "done": True})
        driver.conclude({0: Progress(study.find_entry({NUMBER: 0}), "failed")}, unfinished=0)
    record = study.find_entry({NUMBER: 0}).run.record
    assert (record.status, record.error) == ("failed", "no such data")
    assert statuses(study) == ("FINISHED", {"run 0": "failed"})


def test_a_process_with_other_sources_leaves_a_trial_alone_which_has_not_failed(study: Study) -> None:
    process = TrainingTrial.__new__(TrainingTrial)
    process.setup({NUMBER: 0}, base={}, program="that of the driver", data={})
    left = process.step()
    assert left == {EPOCH: 0, OUTDATED: True, "done": True} and get_ending(left, epochs=2) is None
    with drive(study, Console()) as driver:
        driver.open(None)
        driver.recorder.on_trial_start(trial=the_trial(0))
        driver.recorder.on_trial_result(trial=the_trial(0), result=left)
        assert not driver.recorder.lost, "and Tune does not try it again"
        assert driver.conclude({}, unfinished=1).ending == "interrupted"
    assert study.find_entry({NUMBER: 0}).run.record.status == "interrupted"
    assert statuses(study) == ("KILLED", {"run 0": "interrupted"})


def test_what_mlflow_missed_of_a_resumed_run_does_not_leave_it_running(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("away")

    for _ in range(2):
        with drive(study, Console()) as driver:
            driver.open(None)
            with monkeypatch.context() as away:
                away.setattr(Tracker, "log_record", refuse)
                driver.recorder.on_trial_start(trial=the_trial(0))
            driver.conclude({0: Progress(study.find_entry({NUMBER: 0}), "interrupted")}, unfinished=1)
        assert statuses(study) == ("KILLED", {"run 0": "interrupted"})
