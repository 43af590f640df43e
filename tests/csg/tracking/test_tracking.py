"""MLflow gets every run once, whole, and gives it back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.tracking import RunTracker, Tracker
from csg.tracking import tracker as tracker_module
from csg.tracking.store import resolve_uri
from csg.tracking.tracker import list_active_settings
from csg.training.run import Run
from tests.made_up_pair import TINY, made_up_pair
from tests.stores import put_store_below


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(put_store_below(tmp_path_factory.mktemp("store")), "bars")


def finished_run(folder: Path, **settings: object) -> Run:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    run = Run(build_config({**TINY, "train.output": str(folder), **named}), made_up_pair())
    for _ in run.train():
        pass
    run.finish()
    return run


def search_of(store: Tracker, key: str, folder: Path) -> str:
    return store.open_parent("search", key, folder=DiskPlace(folder), name=f"search {key}", params={}, description="")


def test_a_run_comes_back_as_it_was_recorded(store: Tracker, tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    parent = search_of(store, "s1", tmp_path)
    tracker = RunTracker(store, run, parent=parent, tags={"csg.trial": "0"})
    tracker.log()
    (read,) = store.read_children(parent, history=("source/val/mean_class_accuracy",))
    assert read.status == "finished"
    assert read.params == list_active_settings(run.config)
    assert read.history["source/val/mean_class_accuracy"] == {
        epoch: metrics["source/val/mean_class_accuracy"] for epoch, metrics in enumerate(run.record.epochs, start=1)
    }
    assert read.metrics["target/test/accuracy"] == run.record.final["target/test/accuracy"]
    assert read.tags["config_id"] == run.identity.config_id
    assert read.tags["data.fingerprint"] == run.pair.fingerprint
    for stream, held in run.pair.streams.items():
        assert held.fingerprint.startswith(read.tags[f"data.fingerprint.{stream}"])
    assert read.metrics["duration_seconds"] > 0 and read.metrics["megabytes"] > 0


def test_the_score_is_of_the_protocol_that_asks_whoever_trained_the_run(store: Tracker, tmp_path: Path) -> None:
    trained = finished_run(tmp_path)
    for protocol, stream in (("source", "source/val"), ("oracle", "target/val")):
        parent = search_of(store, f"scores {protocol}", tmp_path)
        config = build_config(flatten(trained.config) | {"selection.protocol": protocol})
        tracker = RunTracker(store, Run(config, made_up_pair()), parent=parent)
        tracker.log(trained.record)
        (read,) = store.read_children(parent)
        assert read.metrics["selection/score"] == trained.record.epochs[-1][f"{stream}/mean_class_accuracy"]


def test_logging_twice_records_no_step_twice(store: Tracker, tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    parent = search_of(store, "s2", tmp_path)
    for _ in range(2):
        RunTracker(store, run, parent=parent).log()
    (read,) = store.read_children(parent)
    history = store.client.get_metric_history(read.run_id, "train/loss")
    assert [metric.step for metric in history] == [1, 2]


def test_an_epoch_that_a_crash_has_cut_is_logged_again(
    store: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path)
    parent = search_of(store, "cut", tmp_path)
    whole = len(run.record.epochs[0])
    cut = RunTracker(store, run, parent=parent)
    with monkeypatch.context() as patch:
        patch.setattr(tracker_module, "BATCH", whole + 3)

        def crash(*_: Any, **given: Any) -> None:
            patch.setattr(store.client, "log_batch", refuse)
            log_batch(*_, **given)

        def refuse(*_: Any, **given: Any) -> None:
            raise ConnectionError

        log_batch = store.client.log_batch
        patch.setattr(store.client, "log_batch", crash)
        with pytest.raises(ConnectionError):
            cut.log()
    RunTracker(store, run, parent=parent).log()
    (read,) = store.read_children(parent, history=tuple(run.record.epochs[1]))
    for name, value in run.record.epochs[1].items():
        assert read.history[name][2] == value, name


def test_a_run_is_found_again_in_a_folder_with_an_apostrophe(store: Tracker, tmp_path: Path) -> None:
    assert len({search_of(store, "quoted", tmp_path / "o'brien") for _ in range(2)}) == 1


def test_what_is_measured_once_has_one_value_whatever_is_logged_again(store: Tracker, tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    RunTracker(store, run).log(dataclasses.replace(run.record, status="interrupted", final={}))
    for seconds in (1.0, 2.0):
        run.record.final["test/seconds"] = seconds
        tracker = RunTracker(store, run)
        tracker.log()
    for name in ("test/seconds", "megabytes", "duration_seconds", "target/test/accuracy"):
        assert len(store.client.get_metric_history(tracker.run_id, name)) == 1, name


def test_a_search_and_its_runs_are_found_again_by_identity(store: Tracker, tmp_path: Path) -> None:
    first, second = (search_of(store, "s3", tmp_path) for _ in range(2))
    run = finished_run(tmp_path)
    ids = {store.open_run(run.config, run.pair, parent=first) for _ in range(3)}
    assert first == second and len(ids) == 1
    for elsewhere in (search_of(store, "s4", tmp_path), search_of(store, "s3", tmp_path / "other"), None):
        ids.add(store.open_run(run.config, run.pair, parent=elsewhere))
    assert len(ids) == 4, "another search, the same one in another folder, and a run by itself"


def test_stopped_and_failed_runs_say_so(store: Tracker, tmp_path: Path) -> None:
    parent = search_of(store, "s5", tmp_path)
    for seed, status in enumerate(("stopped", "failed", "interrupted")):
        run = Run(build_config({**TINY, "train.output": str(tmp_path), "train.seed": seed}), made_up_pair())
        run.close(status, "loss_task is nan" if status == "failed" else "")  # type: ignore[arg-type]
        RunTracker(store, run, parent=parent).log()
    runs = store.read_children(parent)
    assert [run.status for run in runs] == ["stopped", "failed", "interrupted"]
    assert runs[1].tags["error"] == "loss_task is nan"
    assert [store.client.get_run(run.run_id).info.status for run in runs] == ["FINISHED", "FAILED", "KILLED"]


def test_parameters_of_inactive_settings_are_not_logged() -> None:
    config = build_config({"method.name": "source_only"})
    assert "method.temperature" not in list_active_settings(config)
    assert list_active_settings(build_config({}))["method.stage3.pooling"] == "apool"
    assert set(list_active_settings(config)) <= set(flatten(config))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/none/mlflow.db"])
def test_a_store_that_cannot_be_reached_is_refused_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="--tracking-uri: cannot"):
        Tracker(uri, "x")


@pytest.mark.parametrize(
    "uri",
    [
        *("gopher://x", "ftp://h/x", "s3://b/x", "file:///tmp/x", "mlruns", " ", "'", '"none"', "http://", "sqlite://"),
        *("http://127.0.0.1:99999", "sqlite:///", "sqlite:///:memory:", "sqlite:///x.db?mode=ro&uri=true"),
    ],
)
def test_an_address_of_no_store_that_keeps_runs_is_refused_in_one_sentence(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--tracking-uri: expected .*http://HOST:PORT") as refused:
        Tracker(uri, "x")
    assert len(str(refused.value)) < 250 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["http://host:5000", "https://h/p", "databricks", "postgresql+psycopg://a:b@h/d"])
def test_an_address_of_a_store_stays_as_it_is(uri: str) -> None:
    assert resolve_uri(uri) == uri


def test_no_message_holds_a_stores_password() -> None:
    with pytest.raises(UserError, match=r"postgresql://me:\*\*\*@host/runs \(it takes the package \w+"):
        Tracker("postgresql://me:secret@host/runs", "x")
