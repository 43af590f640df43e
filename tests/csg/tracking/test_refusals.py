"""A store that refuses for good is told from one that is away, with what to do about it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mlflow.exceptions import InvalidUrlException, MlflowException, RestException
from mlflow.protos import databricks_pb2 as codes
from sqlalchemy.exc import IntegrityError, InterfaceError

from csg import cli
from csg.commands import script, tracked_training
from csg.commands import train as train_module
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.tracking import RunTracker, Tracker, TrackingError, describe_refusal, get_default_tracking_uri, read_experiment
from csg.tracking.refusals import is_lasting
from csg.training.run import Run
from tests.finished_run import new_run
from tests.made_up_pair import TINY, made_up_pair

RESTORE = r"'mine' was deleted in the MLflow store; restore it \(MLFLOW_TRACKING_URI=sqlite:.* experiments restore"


@pytest.fixture
def store(tmp_path: Path) -> Tracker:
    return Tracker(get_default_tracking_uri(str(tmp_path)), "mine")


def short_run(folder: Path, seed: int = 0) -> Run:
    settings = {**TINY, "train.output": str(folder), "train.seed": seed}
    run = Run(build_config(settings), made_up_pair())
    run.close("failed", "for the test")
    return run


def test_a_deleted_experiment_is_refused_before_anything_is_trained(store: Tracker) -> None:
    store.client.delete_experiment(store.experiment_id)
    for use in (lambda: Tracker(store.uri, "mine"), lambda: read_experiment(store.uri, "mine")):
        with pytest.raises(UserError, match=f"^--experiment: {RESTORE} --experiment-id {store.experiment_id}"):
            use()


def test_a_run_whose_experiment_goes_says_so_and_is_filled_in_when_it_is_back(store: Tracker, tmp_path: Path) -> None:
    tracker = RunTracker(store, short_run(tmp_path))
    store.client.delete_experiment(store.experiment_id)
    assert not tracker.try_to_log()
    assert "mlflow experiments restore" in tracker.refusal and "nothing that was trained is lost" in tracker.refusal
    store.client.restore_experiment(store.experiment_id)
    assert tracker.try_to_log() and not tracker.refusal
    assert [run.status for run in read_experiment(store.uri, "mine")] == ["failed"]


def test_a_run_that_is_deleted_meanwhile_is_made_anew(store: Tracker, tmp_path: Path) -> None:
    tracker = RunTracker(store, short_run(tmp_path))
    store.client.delete_run(tracker.run_id)
    assert tracker.try_to_log()
    assert [run.run_id for run in read_experiment(store.uri, "mine")] == [tracker.run_id]


def test_one_runs_refusal_keeps_no_other_back_and_an_outage_keeps_all(store: Tracker) -> None:
    run_id = store.client.create_run(store.experiment_id).info.run_id
    store.client.delete_run(run_id)
    asked = []

    def write(key: int, what: TrackingError | None) -> None:
        asked.append(key)
        if key == 0:
            store.set_status(run_id, "finished")
        if what is not None:
            raise what

    behind: dict[int, TrackingError | None] = {0: None, 1: None}
    refusal = store.write_all(behind, write)
    assert list(behind) == [0] and f"mlflow runs restore --run-id {run_id}" in refusal
    away: dict[int, TrackingError | None] = {2: MlflowException("away"), 3: None}
    assert store.write_all(away, write) == "" and list(away) == [2, 3]
    store.client.delete_experiment(store.experiment_id)
    gone: dict[int, TrackingError | None] = {0: None, 4: MlflowException("no", codes.INVALID_PARAMETER_VALUE), 5: None}
    assert "experiments restore" in store.write_all(gone, write) and list(gone) == [0, 4, 5]
    assert asked == [0, 1, 2, 0, 4]


def of_database(cause: Exception) -> MlflowException:
    error = MlflowException(str(cause), codes.BAD_REQUEST)
    error.__cause__ = cause
    return error


def answered(code: str) -> RestException:
    return RestException({"error_code": code, "message": "no"})  # type: ignore[no-untyped-call]


REFUSED = [
    MlflowException("gone", codes.RESOURCE_DOES_NOT_EXIST),
    MlflowException("too long", codes.INVALID_PARAMETER_VALUE),
    answered("PERMISSION_DENIED"),
    answered("401"),
    MlflowException("<html>", codes.ENDPOINT_NOT_FOUND),
    InvalidUrlException("no address"),
    of_database(IntegrityError("", {}, Exception("twice"))),
]
AWAY = [
    MlflowException("API request failed with exception HTTPConnectionPool: connection refused"),
    MlflowException("database is locked", codes.TEMPORARILY_UNAVAILABLE),
    answered("REQUEST_LIMIT_EXCEEDED"),
    answered("500"),
    MlflowException("late", codes.DEADLINE_EXCEEDED),
    of_database(InterfaceError("", {}, Exception("connection already closed"))),
]


@pytest.mark.parametrize("error", [*REFUSED, *AWAY], ids=str)
def test_refusals_end_with_2_and_outages_with_3(error: MlflowException, capsys: pytest.CaptureFixture[str]) -> None:
    refused = error in REFUSED
    assert is_lasting(error) == bool(describe_refusal(error)) == refused

    def body(_: Console) -> bool:
        raise error

    assert script.run_script(body, resumes=True) == (2 if refused else 3)
    said = capsys.readouterr().err
    assert ("and would again" in said) == refused
    assert ("does not answer as it should" in said) != refused and "nothing" in said and "lost" in said


def test_an_experiments_name_that_mlflow_refuses_is_no_outage(store: Tracker) -> None:
    with pytest.raises(UserError, match=r"refuses what it is asked"):
        Tracker(store.uri, "x" * 1000)


def test_artifacts_that_cannot_be_kept_are_the_stores_error(store: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.client.create_run(store.experiment_id).info.run_id
    for raised, lasting in ((PermissionError("no"), True), (ConnectionError("away"), False)):

        def refuse(*_: object, raised: Exception = raised) -> None:
            raise raised

        monkeypatch.setattr(store.client, "log_artifact", refuse)
        with pytest.raises(TrackingError, match="cannot keep test_refusals") as caught:
            store.log_artifact(run_id, DiskPlace(Path(__file__)))
        assert is_lasting(caught.value) == lasting


def test_training_goes_on_without_its_store_and_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("connection refused")

    monkeypatch.setattr(train_module, "open_run", lambda *_: new_run(tmp_path).create())
    flags = ["--train.output", str(tmp_path), "--tracking-uri", get_default_tracking_uri(str(tmp_path))]
    monkeypatch.setattr(Tracker, "open_run", refuse)
    assert cli.main(["train", *flags]) == 3, "it was reached, and then went away"
    assert new_run(tmp_path).record.epochs == []
    monkeypatch.undo()
    monkeypatch.setattr(train_module, "open_run", lambda *_: new_run(tmp_path).create())
    with monkeypatch.context() as away:
        away.setattr(Tracker, "log_record", refuse)
        assert cli.main(["train", *flags]) == 3
    assert new_run(tmp_path).record.status == "finished"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("does not answer as it should" in line for line in errors)
    assert errors[1].endswith("; nothing is lost: the same command fills it in and shows the result")
    assert cli.main(["train", *flags]) == 0


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "export", "data", "pretrain"])
def test_only_a_command_that_goes_on_says_so(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for raised, code in ((OSError(errno.EACCES, os.strerror(errno.EACCES), "/there"), 3), (KeyboardInterrupt(), 130)):

        def refuse(*_: object, raised: BaseException = raised) -> None:
            raise raised

        monkeypatch.setattr(f"csg.commands.{command}.{command}", refuse)
        assert cli.main([command]) == code
        said = "".join(capsys.readouterr())
        assert ("the same command goes on where it was" in said.lower()) == (command == "train")
        assert code == 130 or "/there; give this user the right to it" in said


def test_training_goes_on_without_its_experiment_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = get_default_tracking_uri(str(tmp_path))
    monkeypatch.setattr(train_module, "open_run", lambda *_: new_run(tmp_path).create())
    line = tracked_training._format_epoch

    def deleting(*given: object) -> str:
        client = Tracker(uri, "other").client
        found = client.get_experiment_by_name("mine")
        assert found is not None
        if found.lifecycle_stage == "active":
            client.delete_experiment(found.experiment_id)
        return line(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(tracked_training, "_format_epoch", deleting)
    flags = ["--train.output", str(tmp_path), "--experiment", "mine", "--tracking-uri", uri]
    assert cli.main(["train", *flags]) == 2
    said, errors = capsys.readouterr()
    assert said.count("experiments restore") == 1 and "Predict: " in said
    assert new_run(tmp_path).record.status == "finished"
    assert "error: --experiment: 'mine' was deleted in the MLflow store; restore it" in errors
    monkeypatch.setattr(tracked_training, "_format_epoch", line)
    client = Tracker(uri, "other").client
    found = client.get_experiment_by_name("mine")
    assert found is not None
    client.restore_experiment(found.experiment_id)
    assert cli.main(["train", *flags]) == 0
    assert [run.status for run in read_experiment(uri, "mine")] == ["finished"]
